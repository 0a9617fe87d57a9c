"""Spectral re-scaling as real matrix products: no FFT, any dtype, channels-last.

The discrete Fourier transform is a matrix, and on the grids of a backbone (7 to 56 tokens a side) a
product with it runs near the machine's peak, where an FFT moves more than it computes. A complex
number is kept as two real rows, so that

1. a (2K, W) matrix takes W real columns to the real and imaginary parts of K = W // 2 + 1
   frequencies,
2. a (2H, 2H) matrix transforms the rows of both parts at once,
3. the gain multiplies both parts,
4. the transposed matrices go back; columns with a mirror image count twice.

What the inverse FFT does on the self-conjugate columns (it reads only the real part there) follows
by itself. Cost: about 2W + 4H multiply-adds per value, forward and again backward.

Shape suffixes: B batch, C channels, H and W the grid in tokens, K = W // 2 + 1.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from spanetv2.ops.fourier import column_multiplicity, keeps_nothing, waves

__all__ = ["FourierBases", "fourier_bases", "spectral_rescale_products"]


_HALF_SCALE = 2.0**-3
"""Of both transforms in float16: together 1 / 64, about 1 / sqrt(H W) on the largest grids."""


class FourierBases(NamedTuple):
    """The four matrices of a grid; see the module's text."""

    columns: Tensor
    """(2K, W): columns to the real, then the imaginary parts of their spectrum."""
    rows: Tensor
    """(2H, 2H): the complex transform of the rows; real and imaginary part lie side by side."""
    rows_back: Tensor
    """(2H, 2H): its inverse."""
    columns_back: Tensor
    """(W, 2K): the half spectrum to real columns."""


def _make_bases(height: int, width: int, dtype: torch.dtype, device: torch.device) -> FourierBases:
    half = width // 2 + 1
    cos, sin = waves(width, half, dtype, device)
    times = column_multiplicity(half, width, device)[:, None]
    columns = torch.cat([cos, -sin])
    columns_back = torch.cat([times * cos, -times * sin]).t().contiguous()
    cos, sin = waves(height, height, dtype, device)
    to_real = torch.stack([cos, sin], dim=2)
    to_imaginary = torch.stack([-sin, cos], dim=2)
    rows = torch.stack([to_real, to_imaginary], dim=1).reshape(2 * height, 2 * height)
    rows_back = rows.t().contiguous()
    if dtype == torch.float16:
        # The transform adds up a constant map to sqrt(H W) times its value, which would overflow
        # early. A power of two is exact: it changes no digit of what does not overflow.
        columns, rows = columns * _HALF_SCALE, rows * _HALF_SCALE
        rows_back, columns_back = rows_back / _HALF_SCALE, columns_back / _HALF_SCALE
    return FourierBases(
        columns.to(dtype), rows.to(dtype), rows_back.to(dtype), columns_back.to(dtype)
    )


def fourier_bases(height: int, width: int, like: Tensor) -> FourierBases:
    """The matrices of a grid, in the dtype and on the device of ``like``.

    They are kept for the next call, except while a graph is captured (where they are part of it, so
    that a graph may have a dynamic grid).

    Args:
        height: rows H of the grid, in tokens.
        width: columns W of the grid, in tokens.
        like: a tensor whose dtype and device they get.

    Returns:
        ``FourierBases``.

    Example:
        >>> bases = fourier_bases(3, 4, torch.zeros(1))
        >>> [tuple(matrix.shape) for matrix in bases]
        [(6, 4), (6, 6), (6, 6), (4, 6)]
        >>> bool(torch.allclose(bases.rows_back @ bases.rows, torch.eye(6), atol=1e-6))
        True
    """
    if keeps_nothing(like):
        return _make_bases(height, width, like.dtype, like.device)
    return _kept_bases(height, width, like.dtype, like.device)


@lru_cache(maxsize=64)
def _kept_bases(height: int, width: int, dtype: torch.dtype, device: torch.device) -> FourierBases:
    with torch.inference_mode(False), torch.no_grad():
        return _make_bases(height, width, dtype, device)


def spectral_rescale_products(x_BHWC: Tensor, gain_HKC: Tensor) -> Tensor:
    """``spectral_rescale`` on channels-last maps, by matrix products in the dtype of ``x``.

    Args:
        x_BHWC: feature maps, (B, H, W, C), any floating dtype.
        gain_HKC: gain per frequency and channel, (H, W // 2 + 1, C); cast to the dtype of ``x``.

    Returns:
        Tensor (B, H, W, C) in the dtype of ``x``.

    Example:
        >>> x = torch.arange(12.0).reshape(1, 3, 4, 1)
        >>> half = torch.full((3, 3, 1), 0.5)
        >>> bool(torch.allclose(spectral_rescale_products(x, half), x / 2, atol=1e-5))
        True

    Source: SPANetV2, spectral re-scaling filter (the same operator as ``spectral_rescale``).
    """
    height, width, channels = x_BHWC.shape[1:]
    half = width // 2 + 1
    bases = fourier_bases(height, width, x_BHWC)
    # (B, H, 2K, C) is also (B, 2H, K C): the two parts of a row follow one another. Dimensions are
    # split and merged one at a time, which holds for symbolic sizes without a guard.
    spectrum = _transform(bases.columns, x_BHWC)
    spectrum = spectrum.unflatten(2, (2, half)).flatten(1, 2).flatten(2, 3)
    spectrum = _transform(bases.rows, spectrum)
    spectrum = spectrum.unflatten(1, (height, 2)).unflatten(3, (half, channels))
    spectrum = spectrum * gain_HKC.to(spectrum.dtype)[:, None]
    spectrum = _transform(bases.rows_back, spectrum.flatten(3, 4).flatten(1, 2))
    spectrum = spectrum.unflatten(1, (height, 2)).unflatten(3, (half, channels)).flatten(2, 3)
    return _transform(bases.columns_back, spectrum).to(x_BHWC.dtype)


def _transform(matrix: Tensor, x: Tensor) -> Tensor:
    if torch.compiler.is_exporting() and not isinstance(x.shape[1], int):
        # OpenVINO 2026.4 wants factors of as many dimensions as one another, where sizes are open
        matrix = matrix[(None,) * (x.ndim - 2)]
    return torch.matmul(matrix, x)
