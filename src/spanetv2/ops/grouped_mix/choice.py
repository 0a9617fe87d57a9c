"""Where the projection's kernels run."""

import torch
from torch import Tensor

from spanetv2.ops.kernel_choice import accepts_launches, use_kernels

__all__ = ["use_grouped_mix_fused"]


def use_grouped_mix_fused(implementation: str, y_BCHW: Tensor) -> bool:
    """Whether ``grouped_mix_fused`` is to run on these maps.

    Args:
        implementation: see ``spanetv2.set_implementation``.
        y_BCHW: feature maps, (B, C, H, W).
    """
    if not use_kernels("grouped_mix", implementation, y_BCHW):
        return False
    if y_BCHW.device.type != "cuda":
        return True
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else y_BCHW.dtype
    channels = int(y_BCHW.shape[1])
    return accepts_launches(
        "grouped_mix",
        (channels,),
        f"{channels} channels",
        dtype,
        y_BCHW.device,
        torch.is_grad_enabled(),
    )
