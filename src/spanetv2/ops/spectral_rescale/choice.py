"""Which implementation of spectral re-scaling is faster on a grid."""

__all__ = ["LARGEST_PRODUCT_GRID", "prefer_products"]

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
