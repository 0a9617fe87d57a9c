"""Semantic FPN: a feature pyramid whose levels are added up at the finest map's size.

Shape suffixes: B batch, C channels, K classes, H and W rows and columns of a map.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork

from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.heads.layers import ConvNormReLU, PixelClassifier, resize

__all__ = ["SemanticFPN"]


class SemanticFPN(nn.Module):
    """Feature pyramid, then per level as many (3 x 3, batch norm, ReLU, x2) as it lies deeper.

    The finest level has one convolution and no resizing; the pyramid is torchvision's.

    Args:
        channels: of the backbone's maps, finest first.
        strides: of the same maps; each a power of two times the first.
        num_classes: classes K.
        width: channels of the levels' convolutions.
        neck: channels of the pyramid.
        dropout: probability that a channel is left out before the classifier.

    Raises:
        UserError: strides that are no power of two apart.

    Source: Kirillov et al., arXiv:1901.02446; SPANetV2's Semantic FPN configuration.
    """

    def __init__(
        self,
        channels: Sequence[int],
        strides: Sequence[int],
        num_classes: int,
        *,
        width: int = 128,
        neck: int = 256,
        dropout: float = 0.1,
    ):
        super().__init__()
        steps = [math.log2(stride / strides[0]) for stride in strides]
        if any(step < 0 or step != int(step) for step in steps):
            raise UserError(
                f"got maps of strides {', '.join(map(str, strides))}, expected each to be the "
                "first one doubled some times; choose another backbone or head"
            )
        self.pyramid = FeaturePyramidNetwork(list(channels), neck)
        self.levels = nn.ModuleList(_level(neck, width, int(step)) for step in steps)
        self.classifier = PixelClassifier(width, num_classes, dropout=dropout)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """The backbone's maps (B, C, H, W), to scores (B, K, H, W) at the finest map's size."""
        pyramid = self.pyramid(OrderedDict((str(i), x) for i, x in enumerate(maps)))
        size = maps[0].shape[-2:]
        total: Tensor | None = None
        for level, x_BCHW in zip(self.levels, pyramid.values(), strict=True):
            # Doubling a map of odd origin gives a row or column more than the finest one has.
            y_BCHW = resize(level(x_BCHW), (size[0], size[1]))
            total = y_BCHW if total is None else total + y_BCHW
        assert total is not None
        return self.classifier(total)


def _level(inputs: int, width: int, steps: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for i in range(max(1, steps)):
        parts.append(ConvNormReLU(width if i else inputs, width, 3))
        if steps:
            parts.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
    return nn.Sequential(*parts)
