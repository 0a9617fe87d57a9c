"""SPAM's heads: how many there are, and the kernel that each of them convolves with."""

__all__ = ["HEADS", "KERNELS", "LARGEST_KERNEL"]

KERNELS = (3, 5, 7, 9)
"""Taps a side of every head's kernel: head i has 3 + 2i."""
HEADS = len(KERNELS)
"""Heads that share the channels, in contiguous parts of equal size."""
LARGEST_KERNEL = max(KERNELS)
"""Taps a side that hold any head's kernel."""
