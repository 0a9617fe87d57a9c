"""Registration of every variant with timm, from the table."""

import dataclasses
from collections.abc import Callable
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import (
    PretrainedCfg,
    build_model_with_cfg,
    generate_default_cfgs,
    register_model,
)

from spanetv2.models.backbone import SPANetV2
from spanetv2.models.published import PUBLISHED, PublishedWeights, need_published
from spanetv2.models.variants import VARIANTS, Variant
from spanetv2.models.weights.convert import checkpoint_filter_fn
from spanetv2.models.weights.record import DEFAULT_TASK
from spanetv2.models.weights.shipped import ShippedWeights, shipped_weights

__all__ = []  # timm appends the names it registers

_REDUCTION = 8  # of the stem's output to the last map
_SOURCES = ("url", "file", "state_dict", "hf_hub_id", "source")

_UNTRAINED = {
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


def _trained(weights: ShippedWeights) -> dict[str, Any]:
    """timm's description of a classifier in the package, from the file's own record."""
    options, images = weights.record["model_kwargs"], weights.record["preprocessing"]
    stride = options["stem_stride"] * _REDUCTION
    return {
        **_UNTRAINED,
        **{key: images[key] for key in ("interpolation", "crop_pct", "crop_mode")},
        **{key: tuple(images[key]) for key in ("input_size", "mean", "std")},
        "file": str(weights.path),
        "num_classes": options["num_classes"],
        "pool_size": tuple(-(-side // stride) for side in images["input_size"][1:]),
        "label_names": tuple(weights.record["classes"]),
        "description": weights.record["extra"]["summary"],
    }


def _classifiers(variant: str) -> dict[str, ShippedWeights]:
    """The classifiers of a variant in the package, by tag."""
    return {
        weights.tag: weights
        for weights in shipped_weights().values()
        if weights.variant == variant and weights.task == DEFAULT_TASK
    }


def describe_published(weights: PublishedWeights) -> dict[str, Any]:
    """timm's description of a variant for ImageNet's classes, with the sources of its weights."""
    sources = {key: said for key, said in dataclasses.asdict(weights).items() if said}
    return {**_UNTRAINED, **sources}


def _all_cfgs() -> dict[str, dict[str, Any] | PretrainedCfg]:
    """What timm is told about each variant and its weights.

    The untagged name stays the architecture for 1000 classes, and timm's default (the star): it
    must not turn into a network for ten kinds of clothing because there are weights of one.
    """
    cfgs: dict[str, dict[str, Any] | PretrainedCfg] = {}
    for variant in VARIANTS:
        trained = {f"{variant}.{tag}": _trained(w) for tag, w in _classifiers(variant).items()}
        cfgs |= trained
        known = PUBLISHED.get(variant, PublishedWeights())
        cfgs[f"{variant}.*" if trained else variant] = describe_published(known)
    return cfgs


default_cfgs = generate_default_cfgs(_all_cfgs())


def _tag(variant: Variant, pretrained: bool, options: dict[str, Any]) -> str | None:
    """The tag of the weights that are asked for: by name, or the first where none is named."""
    cfg = options.get("pretrained_cfg")
    if cfg:
        return cfg if isinstance(cfg, str) else PretrainedCfg(**cfg).tag
    overlay = options.get("pretrained_cfg_overlay") or {}
    if not pretrained or any(overlay.get(source) for source in _SOURCES):
        return None
    return next(iter(_classifiers(variant.name)), None)


def _has_source(options: dict[str, Any]) -> bool:
    """Whether the caller says where weights are to be taken from."""
    cfg, overlay = options.get("pretrained_cfg"), options.get("pretrained_cfg_overlay") or {}
    own = cfg if isinstance(cfg, dict) else getattr(cfg, "__dict__", {})
    return any(own.get(source) or overlay.get(source) for source in _SOURCES)


def _entrypoint(variant: Variant) -> Callable[..., SPANetV2]:
    def build(pretrained: bool = False, **kwargs: Any) -> SPANetV2:
        architecture = {
            "depths": variant.depths,
            "dims": variant.dims,
            "mixers": variant.mixers,
            "init_std": variant.init_std,
        }
        tag = _tag(variant, pretrained, kwargs)
        if trained := _classifiers(variant.name).get(tag or ""):
            if not kwargs.get("pretrained_cfg"):
                kwargs["pretrained_cfg"] = tag
            # timm takes classes and channels from its description; these are ours
            for key in ("img_size", "stem_stride", "head_order", "gate"):
                kwargs.setdefault(key, trained.record["model_kwargs"][key])
        if pretrained and not trained and not _has_source(kwargs):
            need_published(variant.name)
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
