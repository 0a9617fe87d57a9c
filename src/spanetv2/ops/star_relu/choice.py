"""Where StarReLU is one kernel."""

import torch
from torch import Tensor

from spanetv2.ops.kernel_operator import can_launch

__all__ = ["use_star_relu"]


def use_star_relu(implementation: str, x: Tensor) -> bool:
    """Whether ``star_relu`` is to run: where nothing fuses its steps by itself.

    Args:
        implementation: see ``spanetv2.set_implementation``.
        x: any shape.
    """
    if implementation != "fused" or not can_launch(x):
        return False
    return not (torch.compiler.is_compiling() or torch.jit.is_tracing())
