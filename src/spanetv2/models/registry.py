"""Registration of every variant with timm, from the table."""

from collections.abc import Callable
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from spanetv2.models.backbone import SPANetV2
from spanetv2.models.variants import VARIANTS, Variant
from spanetv2.models.weights.convert import checkpoint_filter_fn

__all__ = []  # timm appends the names it registers

default_cfgs = generate_default_cfgs(
    {
        name: {
            "url": "",
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
            "first_conv": "stem.conv",
            "classifier": "head.fc.fc2",
            "license": "apache-2.0",
            "paper_ids": "arXiv:2503.23947",
            "paper_name": "Spectral-Adaptive Modulation Networks for Visual Perception",
        }
        for name in VARIANTS
    }
)


def _entrypoint(variant: Variant) -> Callable[..., SPANetV2]:
    def build(pretrained: bool = False, **kwargs: Any) -> SPANetV2:
        architecture = {
            "depths": variant.depths,
            "dims": variant.dims,
            "mixers": variant.mixers,
            "init_std": variant.init_std,
        }
        if kwargs.get("features_only"):
            kwargs.setdefault("feature_norms", True)
        return build_model_with_cfg(
            SPANetV2,
            variant.name,
            pretrained,
            pretrained_filter_fn=checkpoint_filter_fn,
            feature_cfg={"out_indices": (0, 1, 2, 3), "feature_cls": "getter"},
            **(architecture | kwargs),
        )

    build.__name__ = build.__qualname__ = variant.name
    build.__doc__ = f"{variant.name}: depths {variant.depths}, channels {variant.dims}."
    return build


for _variant in VARIANTS.values():
    register_model(_entrypoint(_variant))
