"""SPAM's projection as a compiler for CPUs likes it: multiply-adds of whole vectors.

With the heads interleaved, the four inputs of all groups are four slices of C / 4 channels, and
output j of all groups is one more: eight slices, each a sum of four products, which one loop over
the map makes. GroupNorm's factor and shift are in the weights of these products. What they are
follows from the inputs, in one loop before: the sum over a group's outputs is one of its inputs,
the sum of their squares one of the products of its inputs, times the group's Gram matrix of
weights.

Run eagerly this is slower than the reference, as every product is a pass over the memory.

Shape suffixes: B batch, C channels, H and W the grid in tokens, N = H W, G = C / 4 groups, I and K
the four channels of a group, J the eight that it is expanded to, D = 2C, R rows of constants.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from spanetv2.ops.heads import HEADS

__all__ = ["grouped_mix_sliced"]

_EXPANDED = 2 * HEADS


def grouped_mix_sliced(
    x_BHWC: Tensor,
    grouped_weight: Tensor,
    norm_weight_D: Tensor,
    norm_bias_D: Tensor,
    mix_weight: Tensor,
    eps: float,
) -> Tensor:
    """``grouped_mix`` of interleaved heads, with the same arguments and result.

    Source: SPANetV2, SPAM's projection.
    """
    batch, height, width, channels = x_BHWC.shape
    groups = channels // HEADS
    x_BNIG = x_BHWC.reshape(batch, height * width, HEADS, groups)
    per_group = [
        grouped_weight.view(groups, -1),
        norm_weight_D.view(groups, -1),
        norm_bias_D.view(groups, -1),
    ]
    rows_RG = _in_memory(torch.cat(per_group, 1).t())
    weight_JIG = rows_RG[: _EXPANDED * HEADS].view(_EXPANDED, HEADS, groups)
    scale_JG, shift_JG = rows_RG[_EXPANDED * HEADS :].chunk(2)
    mean_B11, rate_B11 = _moments(x_BNIG, weight_JIG, eps)
    scale_BJG = rate_B11 * scale_JG
    weight_BRG = (weight_JIG * scale_BJG[:, :, None]).flatten(1, 2)
    rows_BRG = _in_memory(torch.cat([weight_BRG, shift_JG - mean_B11 * scale_BJG], 1))
    x = x_BNIG.unbind(2)
    expanded = []
    for j in range(_EXPANDED):
        y_BNG = rows_BRG[:, HEADS * _EXPANDED + j, None]
        for i in range(HEADS):
            y_BNG = y_BNG + x[i] * rows_BRG[:, HEADS * j + i, None]
        expanded.append(F.gelu(y_BNG))
    y_BHWD = torch.cat(expanded, 2).view(batch, height, width, 2 * channels)
    mix_CJG = mix_weight.view(channels, groups, _EXPANDED).transpose(1, 2)
    kernel = mix_CJG.reshape(channels, 2 * channels, 1, 1)
    return F.conv2d(y_BHWD.permute(0, 3, 1, 2), kernel).permute(0, 2, 3, 1)


def _moments(x_BNIG: Tensor, weight_JIG: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean, and one over the standard deviation, of the expanded map: (B, 1, 1) each."""
    count = x_BNIG.shape[1] * weight_JIG.shape[0] * weight_JIG.shape[2]
    sum_IG = weight_JIG.sum(0)
    gram_IKG = (weight_JIG[:, :, None] * weight_JIG[:, None]).sum(0)
    x = x_BNIG.unbind(2)
    total, square = torch.zeros_like(x[0]), torch.zeros_like(x[0])
    for i in range(HEADS):
        total = total + x[i] * sum_IG[i]
        other = gram_IKG[i, i] * x[i]
        for k in range(i + 1, HEADS):
            other = other + 2 * gram_IKG[i, k] * x[k]
        square = square + x[i] * other
    # over the channels first: a sum over both at once is vectorised across samples
    mean_B = total.sum(2).sum(1) / count
    square_B = square.sum(2).sum(1) / count
    rate_B = torch.rsqrt(square_B - mean_B * mean_B + eps)
    return mean_B[:, None, None], rate_B[:, None, None]


def _in_memory(x: Tensor) -> Tensor:
    """The same values (..., G), lying in memory in the order of the indices.

    Compilers put copies off into the loops that read them, which then gather: 6 ms in place of 2
    for the projection at 56 x 56. The result of a matrix product is there.
    """
    return torch.matmul(x, torch.eye(x.shape[-1], dtype=x.dtype, device=x.device))
