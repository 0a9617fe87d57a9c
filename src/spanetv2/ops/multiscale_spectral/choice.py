"""Where the fused operator can run."""

import os
from functools import cache
from importlib.util import find_spec

from torch import Tensor

__all__ = ["LARGEST_GRID", "can_fuse"]

LARGEST_GRID = 64
"""Tokens a side that a program of the fused kernels can hold."""


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None


def can_fuse(x_BCHW: Tensor) -> bool:
    """Whether ``multiscale_spectral`` can run on these maps, (B, C, H, W).

    It needs Triton, a GPU (or ``TRITON_INTERPRET=1``), and at most 64 tokens a side.
    """
    height, width = x_BCHW.shape[2], x_BCHW.shape[3]
    if max(height, width) > LARGEST_GRID or min(height, width) < 1:
        return False
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    return (x_BCHW.is_cuda or interpreted) and _has_triton()
