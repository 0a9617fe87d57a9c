"""Where the operator of Triton kernels runs."""

import torch
from torch import Tensor

from spanetv2.ops.kernel_choice import accepts_launches, use_kernels
from spanetv2.ops.kernel_operator import can_launch

__all__ = ["LARGEST_GRID", "can_fuse", "use_fused"]

LARGEST_GRID = 64
"""Tokens a side that a program of the kernels can hold."""
_LARGEST_EXACT = 32
"""The same with gradients in float32: beyond, three products for one spill registers on an H100."""
_SIDES = tuple(range(LARGEST_GRID + 1))


def can_fuse(x_BCHW: Tensor) -> bool:
    """Whether ``local_mixing`` can run on these maps, (B, C, H, W).

    It needs Triton, a GPU (or ``TRITON_INTERPRET=1``), and 1 to 64 tokens a side.
    """
    height, width = x_BCHW.shape[2], x_BCHW.shape[3]
    fits = min(height, width) > 0 and max(height, width) <= LARGEST_GRID
    return fits and can_launch(x_BCHW)


def use_fused(implementation: str, x_BCHW: Tensor) -> bool:
    """Whether ``local_mixing`` is to run on these maps.

    Args:
        implementation: see ``spanetv2.set_implementation``.
        x_BCHW: feature maps, (B, C, H, W).
    """
    if not (use_kernels("local_mixing", implementation, x_BCHW) and can_fuse(x_BCHW)):
        return False
    training = torch.is_grad_enabled()
    if training and x_BCHW.dtype == torch.float32 and max(x_BCHW.shape[2:]) > _LARGEST_EXACT:
        return False
    if x_BCHW.device.type != "cuda":
        return True
    # The kernels are made for one grid, and so are graphs with symbolic sides from here on.
    height, width = _SIDES[x_BCHW.shape[2]], _SIDES[x_BCHW.shape[3]]
    return accepts_launches(
        "local_mixing",
        (height, width),
        f"{height} x {width}",
        x_BCHW.dtype,
        x_BCHW.device,
        training,
    )
