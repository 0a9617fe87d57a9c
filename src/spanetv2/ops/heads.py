"""SPAM's heads: how many there are, the kernel that each of them convolves with, their order."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["HEADS", "KERNELS", "LARGEST_KERNEL", "interleave_heads"]

KERNELS = (3, 5, 7, 9)
"""Taps a side of every head's kernel: head i has 3 + 2i."""
HEADS = len(KERNELS)
"""Heads that share the channels, in contiguous parts of equal size."""
LARGEST_KERNEL = max(KERNELS)
"""Taps a side that hold any head's kernel."""


def interleave_heads(x_BCHW: Tensor, heads: int = HEADS) -> Tensor:
    """Bring channels from head after head to the first of every head, the second of every head, ...

    Args:
        x_BCHW: feature maps, (B, C, H, W).
        heads: how many.

    Example:
        >>> interleave_heads(torch.arange(8).view(1, 8, 1, 1)).flatten().tolist()
        [0, 2, 4, 6, 1, 3, 5, 7]
    """
    if torch.jit.is_tracing():  # for exporters of traces, which lack the operator
        return x_BCHW.unflatten(1, (heads, -1)).transpose(1, 2).flatten(1, 2)
    return F.channel_shuffle(x_BCHW, heads)
