"""Which implementation of spectral re-scaling is faster on a grid."""

import torch
from torch import Tensor

from spanetv2.ops.spectral_rescale.channels_first import spectral_rescale_channels_first
from spanetv2.ops.spectral_rescale.reference import spectral_rescale

__all__ = [
    "LARGEST_PRODUCT_GRID",
    "prefer_products",
    "prefer_products_on_gpu",
    "spectral_rescale_on_gpu",
]

LARGEST_PRODUCT_GRID = 96
"""Mean of the grid's sides, in tokens, up to which matrix products beat the FFT."""


def prefer_products(height: int, width: int) -> bool:
    """Whether matrix products are to be preferred to the FFT on a grid of H x W tokens.

    The products cost about 2W + 4H multiply-adds per value, the FFT about log(H W) passes over the
    memory, which is why the grid's sides decide, whatever the number of channels or images.

    Example:
        >>> prefer_products(56, 56), prefer_products(200, 320)
        (True, False)
    """
    return 2 * height + width <= 3 * LARGEST_PRODUCT_GRID


LARGEST_HALF_PRODUCT_GRID = 512
"""Mean of the grid's sides up to which products in half precision beat the FFT on a GPU."""


def prefer_products_on_gpu(height: int, width: int, dtype: torch.dtype) -> bool:
    """The same for maps with channels first on a GPU; by arithmetic, not measured.

    The FFT runs in float32 and moves a half-precision map about 26 times its size, the products ten
    times; that pays for 2 (H + W) multiply-adds a value on tensor cores up to about 600 tokens a
    side. In float32 the products run without tensor cores, at an eighth of that rate.

    Example:
        >>> prefer_products_on_gpu(200, 320, torch.bfloat16)
        True
        >>> prefer_products_on_gpu(200, 320, torch.float32)
        False
    """
    half = dtype in (torch.bfloat16, torch.float16)
    return height + width <= 2 * (LARGEST_HALF_PRODUCT_GRID if half else LARGEST_PRODUCT_GRID)


def spectral_rescale_on_gpu(x_BCHW: Tensor, gain_CHK: Tensor) -> Tensor:
    """``spectral_rescale`` of maps with channels first by products or the FFT, the faster one."""
    if prefer_products_on_gpu(x_BCHW.shape[2], x_BCHW.shape[3], x_BCHW.dtype):
        return spectral_rescale_channels_first(x_BCHW, gain_CHK)
    return spectral_rescale(x_BCHW, gain_CHK)
