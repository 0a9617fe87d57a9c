"""Where StarReLU is one kernel."""

import torch
from torch import Tensor

from spanetv2.ops.kernel_choice import is_accepted
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
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return False
    if x.device.type != "cuda":
        return True

    def trial() -> None:
        from spanetv2.ops.star_relu.operator import try_launches

        try_launches(x.dtype, x.device)

    return is_accepted(trial, "star_relu", x.dtype, x.device)
