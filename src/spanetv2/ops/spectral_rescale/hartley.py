"""Spectral re-scaling by Hartley transforms: real products on the map's own grid.

The filter's gain is real, so a convolution with a point-symmetric kernel does the same. The kernel
has a part that is even along rows and along columns, and a part that is odd along both. With the
orthonormal matrices ``cas(2 pi f t / L) = cos + sin`` of both sides, a transform ``T`` of the map,

    T'(p, q) = same(p, q) T(p, q) - mirrored(p, q) T(-p, -q)

where ``same`` is the mean of the gains at (p, q) and (p, -q), and ``mirrored`` half of their
difference. The matrices are their own inverses but for the order of their rows, which is chosen so
that (-p, -q) lies opposite to (p, q): the mirrored map is flipped. (Frequencies that are their own
mirror image have no opposite; there ``mirrored`` is 0.)

Cost: 2W + 2H multiply-adds per value, a third less than the half spectrum with its real and
imaginary rows needs, and nothing is interleaved.

Shape suffixes: B batch, C channels, H and W the grid in tokens, K = W // 2 + 1.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from spanetv2.ops.fourier import waves

__all__ = ["hartley_gain", "keep_grid", "prefer_hartley", "spectral_rescale_hartley"]


class _Grid(NamedTuple):
    """What a grid's transforms need."""

    columns: Tensor
    """(W, W): columns to their frequencies."""
    rows: Tensor
    """(H, H)"""
    row_mean: Tensor
    """(H, H): gains of the half spectrum to the mean over a row and its mirror image."""
    row_difference: Tensor
    """(H, H): ... to half of their difference."""
    column_mean: Tensor
    """(W, K): columns of the half spectrum to all of them."""
    column_difference: Tensor
    """(W, K): ... negative for those beyond the half, 0 for those that are their own image."""


def _order(length: int, device: torch.device) -> Tensor:
    """Frequencies in an order in which f and L - f lie opposite to each other; may be symbolic."""
    place = torch.arange(length, device=device)
    if length % 2:  # 1, 2, .., 0, .., L - 2, L - 1
        middle = torch.where(2 * place == length - 1, 0, place)
        return torch.where(2 * place < length - 1, place + 1, middle)
    skipping = torch.where(2 * place < length, place, place + 1)  # 0, 1, .., L - 2, L - 1, L / 2
    return torch.where(place == length - 1, length // 2, skipping)


def _make_grid(height: int, width: int, device: torch.device) -> _Grid:
    exact = torch.float64

    def transform(length: int, order: Tensor) -> Tensor:
        cos, sin = waves(length, length, exact, device)
        return (cos + sin)[order]

    def picking(index: Tensor, count: int) -> Tensor:
        return (index[:, None] == torch.arange(count, device=device)).to(exact)

    p, q = _order(height, device), _order(width, device)
    own, image = picking(p, height), picking((height - p) % height, height)
    half = picking(torch.minimum(q, width - q), width // 2 + 1)
    sign = torch.where((2 * q) % width == 0, 0, torch.where(2 * q < width, 1, -1))
    matrices = (
        *(transform(width, q), transform(height, p)),
        *((own + image) / 2, (own - image) / 2),
        *(half, half * sign[:, None]),
    )
    return _Grid(*(matrix.float() for matrix in matrices))


_KEPT: dict[tuple[int, int, str], _Grid] = {}


def keep_grid(height: int, width: int, device: torch.device) -> None:
    """Make a grid's matrices, float32, for all calls to come, compiled ones too.

    Args:
        height: rows H of the grid, in tokens.
        width: columns W of the grid, in tokens.
        device: where.
    """
    key = (height, width, str(device))
    if key not in _KEPT:
        with torch.inference_mode(False), torch.no_grad():
            grid = _make_grid(height, width, device)
        if type(grid.columns) is Tensor:  # not a stand-in
            _KEPT[key] = grid


def _grid(height: int, width: int, like: Tensor) -> _Grid:
    if not torch.compiler.is_compiling():
        if type(like) is not Tensor:
            return _make_grid(height, width, like.device)
        keep_grid(height, width, like.device)
    kept = _KEPT.get((height, width, str(like.device)))
    return _make_grid(height, width, like.device) if kept is None else kept


def prefer_hartley(x_BHWC: Tensor) -> bool:
    """Whether ``spectral_rescale_hartley`` is to be preferred to the half spectrum's products.

    It is on CPUs in float32, on a fixed grid; not in a graph that is made for others to run.
    """
    return (
        x_BHWC.device.type == "cpu"
        and x_BHWC.dtype == torch.float32
        and not torch.jit.is_tracing()
        and not torch.compiler.is_exporting()
    )


def hartley_gain(gain_HKC: Tensor, width: int) -> Tensor:
    """What ``spectral_rescale_hartley`` takes, of the gain on the half spectrum.

    Args:
        gain_HKC: gain per frequency and channel, (H, W // 2 + 1, C).
        width: columns W of the grid, in tokens.

    Returns:
        Tensor (2, H, W, C): ``same`` and ``mirrored``; see the module's text.
    """
    grid = _grid(gain_HKC.shape[0], width, gain_HKC)
    parts = []
    for rows, columns in (
        (grid.row_mean, grid.column_mean),
        (grid.row_difference, grid.column_difference),
    ):
        half = torch.matmul(rows, gain_HKC.flatten(1)).view(gain_HKC.shape)
        parts.append(torch.matmul(columns, half))
    return torch.stack(parts)


def spectral_rescale_hartley(x_BHWC: Tensor, gain_2HWC: Tensor) -> Tensor:
    """``spectral_rescale`` on channels-last maps, by Hartley transforms.

    Args:
        x_BHWC: feature maps, (B, H, W, C), float32.
        gain_2HWC: ``hartley_gain`` of the grid, float32.

    Returns:
        Tensor (B, H, W, C), float32.

    Example:
        >>> x = torch.arange(12.0).reshape(1, 3, 4, 1)
        >>> gain = hartley_gain(torch.full((3, 3, 1), 0.5), width=4)
        >>> bool(torch.allclose(spectral_rescale_hartley(x, gain), x / 2, atol=1e-5))
        True

    Source: SPANetV2, spectral re-scaling filter (the same operator as ``spectral_rescale``).
    """
    columns, rows = _grid(x_BHWC.shape[1], x_BHWC.shape[2], x_BHWC)[:2]
    same_HWC, mirrored_HWC = gain_2HWC.unbind(0)
    y_BHWC = torch.matmul(columns, x_BHWC)
    y_BHWC = torch.matmul(rows, y_BHWC.flatten(2)).view(x_BHWC.shape)
    y_BHWC = same_HWC * y_BHWC - mirrored_HWC * y_BHWC.flip(1, 2)
    y_BHWC = torch.matmul(rows.t(), y_BHWC.flatten(2)).view(x_BHWC.shape)
    return torch.matmul(columns.t(), y_BHWC)
