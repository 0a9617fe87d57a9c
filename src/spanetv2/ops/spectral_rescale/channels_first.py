"""Spectral re-scaling of maps with channels first, as real matrix products.

A real map has one wave per frequency in each direction, a cosine and a sine. Of their four products
(cosine or sine of the rows, of the columns) the coefficients are cc, cs, sc and ss, for p = 0 ..
H // 2 and q = 0 .. W // 2; a complex transform has the same numbers in other words, and twice as
many rows. A gain acts on them by its even and its odd half e and o over p and -p::

    cc' = e cc - o ss    ss' = e ss - o cc    cs' = e cs + o sc    sc' = e sc + o cs

Backwards only the coefficients are kept.

Shape suffixes: B batch, C channels, H and W the grid in tokens, K = W // 2 + 1, R and S cosine or
sine of rows and columns, P = H // 2 + 1 and Q = W // 2 + 1 their frequencies.
"""

from functools import lru_cache

import torch
from torch import Tensor

from spanetv2.ops.fourier import column_multiplicity, keeps_nothing, waves

__all__ = ["spectral_rescale_channels_first"]

_HALF_SCALE = 2.0**-3
"""Of both transforms in float16; see ``products``."""


def _make_waves(length: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Both waves of every frequency, (2P, length), and back again, (length, 2P)."""
    frequencies = length // 2 + 1
    # In float64 where there is one: the waves are rounded once.
    cos, sin = waves(length, frequencies, torch.float64, device)
    there = torch.cat([cos, sin])
    times = column_multiplicity(frequencies, length, device).repeat(2)
    back = (there * times[:, None]).t()
    if dtype == torch.float16:
        there, back = there * _HALF_SCALE, back / _HALF_SCALE
    return there.to(dtype), back.to(dtype).contiguous()


@lru_cache(maxsize=64)
def _kept_waves(length: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False), torch.no_grad():
        return _make_waves(length, dtype, device)


def _waves(length: int, like: Tensor) -> tuple[Tensor, Tensor]:
    if keeps_nothing(like):
        return _make_waves(length, like.dtype, like.device)
    return _kept_waves(length, like.dtype, like.device)


def spectral_rescale_channels_first(x_BCHW: Tensor, gain_CHK: Tensor) -> Tensor:
    """``spectral_rescale`` by matrix products in the dtype of ``x``, channels first.

    Cost: about W + H multiply-adds per value to either side, half of what
    ``spectral_rescale_products`` takes for the rows.

    Args:
        x_BCHW: feature maps, (B, C, H, W), any floating dtype; best contiguous.
        gain_CHK: gain per channel and frequency, (C, H, W // 2 + 1); cast to the dtype of ``x``.

    Returns:
        Tensor (B, C, H, W) in the dtype of ``x``.

    Example:
        >>> x = torch.arange(12.0).reshape(1, 1, 3, 4)
        >>> half = torch.full((1, 3, 3), 0.5)
        >>> bool(torch.allclose(spectral_rescale_channels_first(x, half), x / 2, atol=1e-5))
        True

    Source: SPANetV2, spectral re-scaling filter (the same operator as ``spectral_rescale``).
    """
    height, width = x_BCHW.shape[2:]
    rows, rows_back = _waves(height, x_BCHW)
    columns, columns_back = _waves(width, x_BCHW)
    # Of every frequency p the gains at p and -p.
    frequency = torch.arange(height // 2 + 1, device=gain_CHK.device)
    above_CPQ, below_CPQ = gain_CHK[:, frequency], gain_CHK[:, (-frequency) % height]
    even_CPQ = ((above_CPQ + below_CPQ) / 2).to(x_BCHW.dtype)
    odd_CPQ = ((above_CPQ - below_CPQ) / 2).to(x_BCHW.dtype)
    minus = -odd_CPQ
    odd_CRPSQ = torch.stack([torch.stack([minus, odd_CPQ], 2), torch.stack([odd_CPQ, minus], 2)], 1)
    spectrum = torch.matmul(rows, torch.matmul(x_BCHW, columns.t()))
    spectrum = spectrum.unflatten(3, (2, -1)).unflatten(2, (2, -1))
    spectrum = spectrum * even_CPQ[:, None, :, None] + spectrum.flip(2, 4) * odd_CRPSQ
    spectrum = spectrum.flatten(4, 5).flatten(2, 3)
    return torch.matmul(torch.matmul(rows_back, spectrum), columns_back.t())
