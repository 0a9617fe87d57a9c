"""UPerNet: pyramid pooling on the coarsest map, a feature pyramid, and their fusion.

Shape suffixes: B batch, C channels, K classes, H and W rows and columns of a map.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spanetv2.tasks.segmentation.heads.layers import (
    BinPool,
    ConvNormReLU,
    PixelClassifier,
    resize,
)

__all__ = ["UPerNet"]

_POOLED = (1, 2, 3, 6)


class UPerNet(nn.Module):
    """Pooling to 1, 2, 3 and 6 bins, lateral and output convolutions, one fusion of all levels.

    Every convolution has batch norm and ReLU and no bias; every resizing is bilinear.

    Args:
        channels: of the backbone's maps, finest first.
        num_classes: classes K.
        width: channels everywhere; 512 gives the published figures, the released configurations
            say 320.
        dropout: probability that a channel is left out before the classifier.

    Source: Xiao et al., arXiv:1807.10221; SPANetV2's UPerNet configuration.
    """

    def __init__(
        self,
        channels: Sequence[int],
        num_classes: int,
        *,
        width: int = 512,
        dropout: float = 0.1,
    ):
        super().__init__()
        *finer, coarsest = channels
        self.pools = nn.ModuleList(
            nn.Sequential(BinPool(bins), ConvNormReLU(coarsest, width, 1)) for bins in _POOLED
        )
        self.bottleneck = ConvNormReLU(coarsest + len(_POOLED) * width, width, 3)
        self.laterals = nn.ModuleList(ConvNormReLU(c, width, 1) for c in finer)
        self.outputs = nn.ModuleList(ConvNormReLU(width, width, 3) for _ in finer)
        self.fusion = ConvNormReLU(len(channels) * width, width, 3)
        self.classifier = PixelClassifier(width, num_classes, dropout=dropout)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """The backbone's maps (B, C, H, W), to scores (B, K, H, W) at the finest map's size."""
        levels = [lateral(x) for lateral, x in zip(self.laterals, maps[:-1], strict=True)]
        levels.append(self._pool(maps[-1]))
        for i in range(len(levels) - 1, 0, -1):
            levels[i - 1] = levels[i - 1] + resize(levels[i], _size(levels[i - 1]))
        levels[:-1] = [output(x) for output, x in zip(self.outputs, levels[:-1], strict=True)]
        size = _size(levels[0])
        fused = self.fusion(torch.cat([resize(x, size) for x in levels], dim=1))
        return self.classifier(fused)

    def _pool(self, x_BCHW: Tensor) -> Tensor:
        pooled = [resize(pool(x_BCHW), _size(x_BCHW)) for pool in self.pools]
        return self.bottleneck(torch.cat([x_BCHW, *pooled], dim=1))


def _size(x_BCHW: Tensor) -> tuple[int, int]:
    return x_BCHW.shape[-2], x_BCHW.shape[-1]
