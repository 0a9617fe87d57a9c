"""Other networks' mixers, which take maps (B, C, H, W), in a block of this package.

Shape suffixes: B batch, C channels, H and W the grid in tokens.
"""

import torch
from timm.models.metaformer import Pooling, SepConv
from torch import Tensor, nn

__all__ = ["ChannelsFirst", "pooling", "separable_convolution"]


class ChannelsFirst(nn.Module):
    """A mixer of maps (B, C, H, W) as one of (B, H, W, C).

    Args:
        inner: maps (B, C, H, W) to the same.
        proj_drop: dropout of the output.
    """

    layout = "NHWC"

    def __init__(self, inner: nn.Module, *, proj_drop: float = 0.0) -> None:
        super().__init__()
        self.inner = inner
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x_BHWC: Tensor) -> Tensor:
        y_BCHW = self.inner(x_BHWC.permute(0, 3, 1, 2))
        return self.proj_drop(y_BCHW.permute(0, 2, 3, 1).contiguous())


def separable_convolution(
    dim: int,
    grid: tuple[int, int],
    *,
    proj_drop: float = 0.0,
    device: torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> ChannelsFirst:
    """ConvFormer's mixer (timm's): 1x1 to 2C channels, StarReLU, depthwise 7x7, 1x1 back.

    Args:
        dim: channels C.
        grid: any; nothing depends on it.
        proj_drop: dropout of the output.
        device: of the parameters.
        dtype: of the parameters.
    """
    return ChannelsFirst(SepConv(dim, device=device, dtype=dtype), proj_drop=proj_drop)


def pooling(dim: int, grid: tuple[int, int], *, proj_drop: float = 0.0) -> ChannelsFirst:
    """PoolFormer's mixer (timm's): the mean of 3x3 tokens minus the token; no parameters.

    Args:
        dim: any; nothing depends on it.
        grid: any; nothing depends on it.
        proj_drop: dropout of the output.
    """
    return ChannelsFirst(Pooling(), proj_drop=proj_drop)
