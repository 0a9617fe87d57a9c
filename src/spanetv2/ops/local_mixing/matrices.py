"""The constants and small matrices that ``local_mixing`` is made of, as tensors.

A row of taps and the Fourier transform of the columns are both linear along a row of the map, so
that both are one matrix per channel and row of taps (``row_matrices``). Cosines and sines of a
frequency stand side by side, so that one product makes both.

The filter's gain is real. Over rows p and -p of the spectrum it splits into an even part e and an
odd part o, and only half the rows are computed: with the four products of a cosine or sine along
the rows (first letter) and along the columns (second)::

    cc' = e cc - o ss    ss' = e ss - o cc    cs' = e cs + o sc    sc' = e sc + o cs

Shape suffixes: C channels, T = 9 taps, H and W the grid in tokens, P = H // 2 + 1 and
Q = W // 2 + 1 frequencies, K = 2 Q with cosine and sine of a frequency side by side. All but C and
T are padded with zeros to powers of two here (``Sizes``), except where a suffix is in lower case.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from spanetv2.ops.fourier import column_multiplicity, waves
from spanetv2.ops.heads import LARGEST_KERNEL
from spanetv2.ops.kernel_operator import DTYPES
from spanetv2.ops.local_mixing.choice import LARGEST_GRID

__all__ = [
    "Constants",
    "Prepared",
    "Sizes",
    "constants",
    "fold_gain",
    "prepare",
    "prepare_from",
    "row_matrices",
    "scale_of",
]

_HALF_SCALE = 2.0**-3


class Sizes(NamedTuple):
    """Sides of a grid's tiles: powers of two, as tensor cores take them."""

    H: int
    W: int
    P: int
    K: int

    @classmethod
    def of(cls, height: int, width: int) -> "Sizes":
        """The smallest tiles of at least 16 that hold a grid and its frequencies.

        Example:
            >>> Sizes.of(56, 14)
            Sizes(H=64, W=16, P=32, K=16)
        """
        wanted = (height, width, height // 2 + 1, 2 * (width // 2 + 1))
        return cls(*(max(16, 1 << (size - 1).bit_length()) for size in wanted))


class Prepared(NamedTuple):
    """What the kernels take in place of the parameters, for one grid and dtype."""

    rows: Tensor
    """(C, T, W K): a matrix per row of taps."""
    gains: Tensor
    """float32 (C, 2 P, q): even, then odd parts of the gain."""
    shift: Tensor
    """float32 (C,): what becomes of the bias."""
    row_waves: Tensor
    column_waves: Tensor


class Constants(NamedTuple):
    """What depends on the grid and the dtype alone; see the module's text."""

    shifts: Tensor
    """float32 (T, W K): taps of a row to the row's matrix."""
    fold: Tensor
    """float32 (2 P, h): gains of all rows to their even, then their odd parts."""
    row_waves: Tensor
    """(8, P H), cosines and sines in turn: there (P, H), back (H, P), and both for gradients."""
    column_waves: Tensor
    """(2, W K): back (K, W), and there for gradients (W, K)."""


def scale_of(dtype: torch.dtype) -> float:
    """Factor of a transform along one side, taken back on the way back.

    A transform adds up a constant map to sqrt(H W) times its value, which would overflow float16
    early; a power of two changes no digit.
    """
    return _HALF_SCALE if dtype == torch.float16 else 1.0


def _padded(matrix: Tensor, rows: int, columns: int) -> Tensor:
    return F.pad(matrix, (0, columns - matrix.shape[1], 0, rows - matrix.shape[0]))


def _cosines_and_sines(length: int) -> tuple[Tensor, Tensor, Tensor]:
    """(frequencies, tokens) of both, and how often a frequency counts, (frequencies, 1)."""
    half = length // 2 + 1
    cos, sin = waves(length, half, torch.float64, torch.device("cpu"))
    times = column_multiplicity(half, length)[:, None].double()
    # The sine of what is its own mirror image is zero, whatever the last digit of pi.
    sin = torch.where(times == 1, 0.0, sin)
    return cos, sin, times


def _row_waves(height: int, dtype: torch.dtype) -> Tensor:
    size, scale = Sizes.of(height, 1), scale_of(dtype)
    cos, sin, times = _cosines_and_sines(height)
    there = [_padded(scale * wave, size.P, size.H).flatten() for wave in (cos, sin)]
    back = [_padded(wave.t() / scale, size.H, size.P) for wave in (times * cos, times * sin)]
    # A frequency counts on the way back, and in gradients on the way there.
    grad_there = [scale * scale * matrix.t().flatten() for matrix in back]
    grad_back = [_padded(wave.t() / scale, size.H, size.P).flatten() for wave in (cos, sin)]
    return torch.stack([*there, *(m.flatten() for m in back), *grad_there, *grad_back]).to(dtype)


def _column_waves(width: int, dtype: torch.dtype) -> Tensor:
    size, scale = Sizes.of(1, width), scale_of(dtype)
    cos, sin, times = _cosines_and_sines(width)
    both = torch.stack([times * cos, times * sin], dim=1).flatten(0, 1)  # (k, w)
    back = _padded(both / scale, size.K, size.W)
    return torch.stack([back.flatten(), scale * scale * back.t().flatten()]).to(dtype)


def _shifts(width: int, dtype: torch.dtype) -> Tensor:
    """A row's columns' waves, moved by every tap, zero where the tap leaves the map."""
    size = Sizes.of(1, width)
    cos, sin, _ = _cosines_and_sines(width)
    both = torch.stack([cos.t(), sin.t()], dim=2).flatten(1)  # (w, k)
    reach = LARGEST_KERNEL // 2
    moved = F.pad(both, (0, 0, reach, reach)).unfold(0, width, 1).permute(0, 2, 1)  # (T, w, k)
    # Tap dx reads token w + dx for token w: what a token gives goes dx tokens back.
    padded = torch.stack([_padded(matrix, size.W, size.K) for matrix in moved.flip(0)])
    return (scale_of(dtype) * padded.flatten(1)).float()


def _fold(height: int, dtype: torch.dtype) -> Tensor:
    rows, half = Sizes.of(height, 1).P, height // 2 + 1
    eye = torch.eye(height)
    here, mirrored = eye[:half], eye[-torch.arange(half) % height]
    even, odd = (here + mirrored) / 2, (here - mirrored) / 2
    return torch.cat([_padded(even, rows, height), _padded(odd, rows, height)])


_Maker = Callable[[int, torch.dtype], Tensor]


def _keeper(make: _Maker, side: int, dtype: torch.dtype) -> Callable[[torch.device], Tensor]:
    """A function whose result stays in memory, and is a constant of graphs that are compiled.

    Compilers tell such constants apart by the name of the code: one for every side and dtype.
    """
    kept: dict[torch.device, Tensor] = {}

    def constant(device: torch.device) -> Tensor:
        found = kept.get(device)
        if found is None:
            with torch.inference_mode(False), torch.no_grad():
                found = make(side, dtype).to(device)
            if type(found) is Tensor:  # not a stand-in of tracing
                kept[device] = found
        return found

    name = f"local_mixing{make.__name__}_{side}_{str(dtype)[6:]}"
    constant.__code__ = constant.__code__.replace(co_name=name)
    return torch.compiler.assume_constant_result(constant)


def _keepers(make: _Maker) -> dict[torch.dtype, list[Callable[[torch.device], Tensor]]]:
    sides = range(1, LARGEST_GRID + 1)
    return {dtype: [_keeper(make, side, dtype) for side in sides] for dtype in DTYPES}


_SHIFTS, _FOLD = _keepers(_shifts), _keepers(_fold)
_ROW_WAVES, _COLUMN_WAVES = _keepers(_row_waves), _keepers(_column_waves)


def constants(height: int, width: int, dtype: torch.dtype, device: torch.device) -> Constants:
    """The constants of a grid, kept in memory between calls.

    Args:
        height: rows of the grid, in tokens, at most ``LARGEST_GRID``.
        width: columns of the grid, in tokens, at most ``LARGEST_GRID``.
        dtype: of the maps, one of ``DTYPES``.
        device: of the maps.
    """
    return Constants(
        _SHIFTS[dtype][width - 1](device),
        _FOLD[dtype][height - 1](device),
        _ROW_WAVES[dtype][height - 1](device),
        _COLUMN_WAVES[dtype][width - 1](device),
    )


def row_matrices(kernels_CTT: Tensor, shifts: Tensor, dtype: torch.dtype) -> Tensor:
    """One matrix per channel and row of taps: convolution along the row, then its transform.

    Args:
        kernels_CTT: kernels, (C, T, T), as ``pack_kernels`` makes them.
        shifts: of ``constants``.
        dtype: of the result.

    Returns:
        Tensor (C, T, W K).
    """
    return torch.matmul(kernels_CTT.to(shifts.dtype), shifts).to(dtype)


def fold_gain(gain_CHQ: Tensor, fold: Tensor) -> Tensor:
    """Even, then odd parts of a gain over rows p and -p: float32 (C, 2 P, q).

    Args:
        gain_CHQ: gain of the spectral filter, (C, h, q).
        fold: of ``constants``.
    """
    return torch.matmul(fold, gain_CHQ.float())


def prepare_from(
    kernels_CTT: Tensor,
    bias_C: Tensor,
    gain_CHQ: Tensor,
    shifts: Tensor,
    fold: Tensor,
    row_waves: Tensor,
    column_waves: Tensor,
) -> Prepared:
    """``prepare`` with the constants of the grid at hand."""
    rows = row_matrices(kernels_CTT, shifts, row_waves.dtype)
    # The bias is a constant map, of which the filter leaves the gain at frequency 0.
    shift_C = bias_C.float() * gain_CHQ[:, 0, 0].float()
    return Prepared(rows, fold_gain(gain_CHQ, fold), shift_C, row_waves, column_waves)


def prepare(
    kernels_CTT: Tensor,
    bias_C: Tensor,
    gain_CHQ: Tensor,
    grid: tuple[int, int],
    dtype: torch.dtype,
) -> Prepared:
    """What the kernels make of the parameters first, for ``local_mixing_prepared``.

    Args:
        kernels_CTT: as for ``local_mixing``.
        bias_C: as for ``local_mixing``.
        gain_CHQ: as for ``local_mixing``.
        grid: (H, W) in tokens.
        dtype: of the maps.
    """
    known = constants(*grid, dtype, kernels_CTT.device)
    return prepare_from(kernels_CTT, bias_C, gain_CHQ, *known)
