"""Multi-scale depthwise convolution, then spectral re-scaling, as their definitions read.

Shape suffixes: B batch, C channels, H and W the grid in tokens, K = W // 2 + 1, T taps of the
largest kernel along one side.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from spanetv2.ops.heads import LARGEST_KERNEL
from spanetv2.ops.spectral_rescale import spectral_rescale

__all__ = ["local_mixing_reference", "pack_kernels"]


def pack_kernels(weights: Sequence[Tensor]) -> Tensor:
    """The heads' kernels in one tensor, each in the middle of zeros.

    Args:
        weights: four depthwise weights, (C / 4, 1, 3 + 2i, 3 + 2i) for head i.

    Returns:
        Tensor (C, T, T).

    Example:
        >>> heads = [torch.ones(1, 1, side, side) for side in (3, 5, 7, 9)]
        >>> pack_kernels(heads).sum((1, 2)).tolist()
        [9.0, 25.0, 49.0, 81.0]
    """
    padded = [
        F.pad(weight[:, 0], [(LARGEST_KERNEL - weight.shape[-1]) // 2] * 4) for weight in weights
    ]
    return torch.cat(padded)


def local_mixing_reference(
    x_BCHW: Tensor, kernels_CTT: Tensor, bias_C: Tensor, gain_CHK: Tensor
) -> Tensor:
    """``spectral_rescale(depthwise_conv(x))`` with zero padding; head i uses 3 + 2i taps a side.

    Args:
        x_BCHW: feature maps, (B, C, H, W).
        kernels_CTT: kernels, (C, 9, 9), as ``pack_kernels`` makes them.
        bias_C: bias of the convolutions, (C,).
        gain_CHK: gain of the spectral filter, (C, H, W // 2 + 1).

    Returns:
        Tensor (B, C, H, W).

    Source: SPANetV2, multi-scale local mixing and spectral re-scaling filter.
    """
    y_BCHW = F.conv2d(
        x_BCHW,
        kernels_CTT[:, None],
        bias_C,
        padding=LARGEST_KERNEL // 2,
        groups=x_BCHW.shape[1],
    )
    return spectral_rescale(y_BCHW, gain_CHK)
