"""DFFormer's networks, registered with timm: peers to compare with, without weights.

timm's ConvFormer with the dynamic filter in place of its separable convolution, which is what sets
the two apart.

Shape suffixes: B batch, C channels, H and W the grid in tokens.
"""

from collections.abc import Callable
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import to_2tuple
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.metaformer import LayerNorm2dNoBias, MetaFormer, Pooling
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.layers import conv_output_size
from spanetv2.mixers import DynamicFilter

__all__ = ["DFFORMERS", "DFFormer"]  # timm appends the names it registers

DFFORMERS = {
    "dfformer_s18": ((3, 3, 9, 3), (64, 128, 320, 512)),
    "dfformer_s36": ((3, 12, 18, 3), (64, 128, 320, 512)),
    "dfformer_m36": ((3, 12, 18, 3), (96, 192, 384, 576)),
    "dfformer_b36": ((3, 12, 18, 3), (128, 256, 512, 768)),
}
"""Blocks and channels of every stage, by name."""

_CFG = {
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
    "paper_ids": "arXiv:2303.03932",
    "paper_name": "FFT-based Dynamic Token Mixer for Vision",
}


class FilterOfMaps(nn.Module):
    """``DynamicFilter`` on maps (B, C, H, W)."""

    def __init__(self, dim: int, grid: tuple[int, int], **options: Any) -> None:
        super().__init__()
        self.inner = DynamicFilter(dim, grid, **options)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.inner(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class DFFormer(MetaFormer):
    """A MetaFormer whose blocks mix tokens with ``DynamicFilter``.

    Args:
        img_size: image size in pixels that the filters are made for; others work too, with filters
            that are resized in every pass.
        filters: basis filters of a mixer.
        proj_drop_rate: dropout after every mixer and MLP.
        device: of the parameters.
        dtype: of the parameters.
        **options: of timm's ``MetaFormer``.

    Raises:
        UserError: a size without tokens.

    Source: Tatsunami and Taki, FFT-based Dynamic Token Mixer for Vision.
    """

    def __init__(
        self,
        *,
        img_size: int | tuple[int, int] = 224,
        filters: int = 4,
        proj_drop_rate: float = 0.0,
        device: Any = None,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        factory = {"device": device, "dtype": dtype}
        super().__init__(token_mixers=Pooling, proj_drop_rate=proj_drop_rate, **factory, **options)
        size: Any = to_2tuple(img_size)
        rows, columns = (conv_output_size(side, 7, 4, 2) for side in size)
        if min(rows, columns) < 1:
            raise UserError(f"got img_size={img_size}, expected 3 pixels or more for a token")
        stages: Any = self.stages
        for stage, info in zip(stages, self.feature_info, strict=True):
            for block in stage.blocks:
                block.token_mixer = FilterOfMaps(
                    info["num_chs"],
                    (rows, columns),
                    filters=filters,
                    proj_drop=proj_drop_rate,
                    **factory,
                )
            rows, columns = (conv_output_size(side, 3, 2, 1) for side in (rows, columns))
        self.stages.apply(self._init_weights)


def _entrypoint(name: str) -> Callable[..., DFFormer]:
    depths, dims = DFFORMERS[name]

    def build(pretrained: bool = False, **options: Any) -> DFFormer:
        return build_model_with_cfg(
            DFFormer,
            name,
            pretrained,
            feature_cfg={
                "flatten_sequential": True,
                "out_indices": options.pop("out_indices", (0, 1, 2, 3)),
            },
            **({"depths": depths, "dims": dims, "norm_layers": LayerNorm2dNoBias} | options),
        )

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"{name}: depths {depths}, channels {dims}."
    return build


default_cfgs = generate_default_cfgs(dict.fromkeys(DFFORMERS, _CFG))

for _name in DFFORMERS:
    register_model(_entrypoint(_name))
