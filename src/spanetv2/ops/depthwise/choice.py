"""Where the kernels of the depthwise convolutions run."""

import torch
from torch import Tensor

from spanetv2.ops.kernel_choice import accepts_launches, use_kernels

__all__ = ["use_depthwise_heads"]


def use_depthwise_heads(implementation: str, x_BCHW: Tensor) -> bool:
    """Whether ``depthwise_heads`` is to run on these maps.

    Args:
        implementation: see ``spanetv2.set_implementation``.
        x_BCHW: feature maps, (B, C, H, W).
    """
    if not use_kernels("depthwise", implementation, x_BCHW):
        return False
    if x_BCHW.device.type != "cuda":
        return True
    # The kernels are made for one grid, and so are graphs with symbolic sides from here on.
    height, width = int(x_BCHW.shape[2]), int(x_BCHW.shape[3])
    return accepts_launches(
        "depthwise",
        (height, width),
        f"{height} x {width}",
        x_BCHW.dtype,
        x_BCHW.device,
        torch.is_grad_enabled(),
    )
