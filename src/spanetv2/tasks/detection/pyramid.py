"""A backbone and the feature pyramid on it.

Shape suffixes: B batch, C channels, H and W rows and columns.
"""

import itertools
from collections import OrderedDict

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from spanetv2.errors import UserError
from spanetv2.models.features import FeatureBackbone

__all__ = ["LEVELS", "Pyramid"]

LEVELS = ("0", "1", "2", "3")
"""Names of the levels that boxes are pooled from; "pool" is the coarser one for proposals."""


class Pyramid(nn.Module):
    """Backbone and feature pyramid: images (B, 3, H, W) to five maps of one width.

    The pyramid has lateral 1x1 and output 3x3 convolutions with biases and no norms; the fifth map
    takes every second token of the fourth.

    Args:
        backbone: four maps, each half as fine as the one before.
        channels: channels of the pyramid's maps.

    Attributes:
        strides: pixels per token of the four maps that boxes are pooled from.
        out_channels: ``channels``, by torchvision's name.

    Raises:
        UserError: the backbone gives other maps.
    """

    def __init__(self, backbone: FeatureBackbone, channels: int = 256):
        super().__init__()
        _check_levels(backbone)
        self.strides = backbone.strides
        self.out_channels = channels
        self.backbone = backbone
        self.fpn = FeaturePyramidNetwork(
            backbone.channels, channels, extra_blocks=LastLevelMaxPool()
        )

    def forward(self, images_BCHW: Tensor) -> OrderedDict[str, Tensor]:
        return self.fpn(OrderedDict(zip(LEVELS, self.backbone(images_BCHW), strict=True)))


def _check_levels(backbone: FeatureBackbone) -> None:
    strides = backbone.strides
    doubling = all(fine * 2 == coarse for fine, coarse in itertools.pairwise(strides))
    if len(strides) != 4 or not doubling or not _power_of_two(strides[0]):
        raise UserError(
            f"{backbone.name} gives feature maps of strides {strides}, expected four, each twice "
            "the one before (4, 8, 16, 32)"
        )


def _power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
