"""The waves that every Fourier matrix of this package's operators is made of.

(``spanetv2.theory`` has its own, complex and in float64: it imports nothing of the package.)
"""

import math

import torch
from torch import Tensor

__all__ = ["column_multiplicity", "keeps_nothing", "waves"]


def keeps_nothing(like: Tensor) -> bool:
    """Whether operations become a graph now, in which what was kept would be a constant for good.

    So it is under ``torch.compile``, ``torch.export``, ``torch.jit.trace`` (also that of
    ``torch.onnx.export(dynamo=False)``), and where tensors are stand-ins.

    Args:
        like: a tensor that takes part.
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or type(like) is not Tensor


def waves(
    length: int, count: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the first frequencies of a discrete Fourier transform.

    ``cos(2 pi f t / L) / sqrt(L)`` and ``sin(2 pi f t / L) / sqrt(L)`` for frequency f and token t:
    as complex waves they have unit norm.

    Args:
        length: tokens L; may be symbolic.
        count: frequencies, from 0.
        dtype: of the result, at least float32.
        device: of the result.

    Returns:
        Two tensors (count, L).

    Example:
        >>> cos, sin = waves(8, 5, torch.float64, torch.device("cpu"))
        >>> norms = (cos.square() + sin.square()).sum(1)
        >>> bool(torch.allclose(norms, torch.ones(5, dtype=torch.float64)))
        True
    """
    frequencies = torch.arange(count, device=device)
    tokens = torch.arange(length, device=device)
    # Whole turns are taken off as integers, so that the angle is exact at any length. The length is
    # taken as a tensor, as it may be symbolic.
    size = torch.ones_like(tokens).sum()
    turns = torch.remainder(frequencies[:, None] * tokens, size)
    exact = torch.promote_types(dtype, torch.float32)
    angle = turns.to(exact) / size.to(exact) * (2 * math.pi)
    scale = torch.rsqrt(size.to(exact))
    return torch.cos(angle) * scale, torch.sin(angle) * scale


def column_multiplicity(columns: int, width: int, device: torch.device | None = None) -> Tensor:
    """How many columns of the whole spectrum a column of the half spectrum stands for.

    Two, itself and its mirror image, but for those that are their own: 0, and W / 2 for even W.

    Args:
        columns: of the half spectrum, from 0; those beyond W // 2 do not matter.
        width: columns W of the grid, in tokens; may be symbolic.
        device: of the result.

    Returns:
        float32 tensor (columns,) of ones and twos.

    Example:
        >>> column_multiplicity(4, 6).tolist(), column_multiplicity(4, 7).tolist()
        ([1.0, 2.0, 2.0, 1.0], [1.0, 2.0, 2.0, 2.0])
    """
    column = torch.arange(columns, device=device)
    alone = (column == 0) | (2 * column == width)
    return torch.where(alone, 1.0, 2.0)
