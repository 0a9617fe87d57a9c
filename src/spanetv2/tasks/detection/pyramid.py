"""A backbone and the feature pyramid on it.

Shape suffixes: B batch, C channels, H and W rows and columns.
"""

import itertools
import os
from collections import OrderedDict
from typing import Any, cast

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from spanetv2.errors import UserError
from spanetv2.models import VARIANTS, SPANetV2, create_model
from spanetv2.models.factory import resolve_name
from spanetv2.models.weights.save import model_record

__all__ = ["LEVELS", "Pyramid", "create_backbone"]

LEVELS = ("0", "1", "2", "3")
"""Names of the levels that boxes are pooled from; "pool" is the coarser one for proposals."""


def create_backbone(
    name: str, checkpoint: str | os.PathLike[str] | None = None, **options: Any
) -> tuple[nn.Module, dict[str, Any]]:
    """Build what gives a detector its feature maps: the last four levels of a network.

    Args:
        name: one of our variants or any timm model with four levels, each half as fine as the one
            before.
        checkpoint: weights of the backbone alone, such as a classifier's.
        **options: for ``create_model``; those that are None are left out.

    Returns:
        The network (images to a list of four maps), and what ``create_backbone`` needs to build one
        like it: ``name`` and plain options.

    Raises:
        UserError: no such model, or none with such levels; weights that do not fit.
    """
    name = resolve_name(name)
    given = {key: value for key, value in options.items() if value is not None}
    if name not in VARIANTS:
        given = {"out_indices": _last_four(name, given), **given}
    backbone = create_model(name, checkpoint, features_only=True, **given)
    _check_levels(name, backbone)
    network = getattr(backbone, "model", backbone)
    if isinstance(network, SPANetV2):
        record = {k: v for k, v in model_record(network)["model_kwargs"].items() if k in _KEPT}
    else:
        record = {k: v for k, v in given.items() if k not in _TRAINING_ONLY}
    return backbone, {"name": name, **record}


_KEPT = ("in_chans", "img_size", "stem_stride", "head_order", "gate")
_TRAINING_ONLY = ("pretrained", "drop_path_rate", "drop_rate", "proj_drop_rate")


def _last_four(name: str, options: dict[str, Any]) -> tuple[int, ...]:
    """Indices of the last four levels, which for some networks are not all they have."""
    wanted = {k: v for k, v in options.items() if k not in ("pretrained", "out_indices")}
    try:
        found = create_model(name, features_only=True, **wanted)
    except (RuntimeError, AttributeError, ValueError) as error:
        raise UserError(f"{name} gives no feature maps ({error}), expected four levels") from error
    count = len(cast(Any, found.feature_info).reduction())
    return tuple(range(max(0, count - 4), count))


def _check_levels(name: str, backbone: nn.Module) -> None:
    strides = cast(Any, backbone.feature_info).reduction()
    doubling = all(fine * 2 == coarse for fine, coarse in itertools.pairwise(strides))
    if len(strides) != 4 or not doubling or not _power_of_two(strides[0]):
        raise UserError(
            f"{name} gives feature maps of strides {list(strides)}, expected four, each twice the "
            "one before (4, 8, 16, 32)"
        )


def _power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


class Pyramid(nn.Module):
    """Backbone and feature pyramid: images (B, 3, H, W) to five maps of one width.

    The pyramid has lateral 1x1 and output 3x3 convolutions with biases and no norms; the fifth map
    takes every second token of the fourth.

    Args:
        backbone: from ``create_backbone``.
        channels: channels of the maps.

    Attributes:
        strides: pixels per token of the four maps that boxes are pooled from.
        out_channels: ``channels``, by torchvision's name.
    """

    def __init__(self, backbone: nn.Module, channels: int = 256):
        super().__init__()
        info = cast(Any, backbone.feature_info)
        self.strides: list[int] = [int(stride) for stride in info.reduction()]
        self.out_channels = channels
        self.backbone = backbone
        self.fpn = FeaturePyramidNetwork(
            list(info.channels()), channels, extra_blocks=LastLevelMaxPool()
        )
        self._channels_last = str(getattr(backbone, "output_fmt", "NCHW")).endswith("NHWC")

    def forward(self, images_BCHW: Tensor) -> OrderedDict[str, Tensor]:
        maps = self.backbone(images_BCHW)
        if self._channels_last:
            maps = [x_BHWC.permute(0, 3, 1, 2) for x_BHWC in maps]
        return self.fpn(OrderedDict(zip(LEVELS, maps, strict=True)))
