"""SPAM's projection for a compiler to fuse: the norm's statistics come from the input's moments.

An expanded channel is a sum of four input channels, so its mean and mean square follow from the
four means and ten mean products of its group. Hence the expanded map, the largest of the mixer, is
made only once: the norm is folded into the grouped weights of each sample, and sums, norm and GELU
run in one pass. Run eagerly this is slower than the reference, as every step is a pass of its own.

Shape suffixes: B batch, C channels, H and W the grid in tokens, P = H W, D = 2C expanded channels,
G = C / 4 groups, I the four channels of a group, O the eight that it is expanded to.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from spanetv2.ops.grouped_mix.reference import HEADS

__all__ = ["grouped_mix_moments", "prefer_moments"]

_EXPANDED = 2 * HEADS
_VECTOR = 16


def prefer_moments(channels: int) -> bool:
    """Whether ``grouped_mix_moments`` is faster than ``grouped_mix`` for C channels, here and now.

    It is while a graph is compiled, if the C / 4 groups fill a processor's vectors; not in an
    exported graph, which nobody may fuse.
    """
    fused = torch.compiler.is_compiling() and not torch.compiler.is_exporting()
    return fused and channels // HEADS >= _VECTOR


def grouped_mix_moments(
    x_BHWC: Tensor,
    grouped_weight: Tensor,
    norm_weight_D: Tensor,
    norm_bias_D: Tensor,
    mix_weight: Tensor,
    interleaved: bool,
    eps: float,
) -> Tensor:
    """``grouped_mix`` with the same arguments and result.

    The statistics are float32 for half-precision input.

    Source: SPANetV2, SPAM's projection.
    """
    batch, height, width, channels = x_BHWC.shape
    groups = channels // HEADS
    if interleaved:
        parts = x_BHWC.reshape(batch, height * width, HEADS, groups).unbind(2)
    else:
        parts = x_BHWC.reshape(batch, height * width, groups, HEADS).unbind(3)
    exact = torch.promote_types(x_BHWC.dtype, torch.float32)
    parts_BPG = [part.to(exact) for part in parts]
    weight_OIG = grouped_weight.to(exact).view(groups, _EXPANDED, HEADS).permute(1, 2, 0)
    scale_OG = norm_weight_D.to(exact).view(groups, _EXPANDED).t()
    shift_OG = norm_bias_D.to(exact).view(groups, _EXPANDED).t()

    mean_B, variance_B = _statistics(parts_BPG, weight_OIG)
    inverse_B11 = torch.rsqrt(variance_B + eps)[:, None, None]
    weight_BOIG = (weight_OIG * scale_OG[:, None]) * inverse_B11[..., None]
    bias_BOG = shift_OG - mean_B[:, None, None] * inverse_B11 * scale_OG

    expanded = []
    for out in range(_EXPANDED):
        total_BPG = bias_BOG[:, None, out]
        for i in range(HEADS):
            total_BPG = total_BPG + weight_BOIG[:, None, out, i] * parts_BPG[i]
        expanded.append(F.gelu(total_BPG).to(x_BHWC.dtype))
    x_BPD = torch.cat(expanded, dim=2)
    # The expanded channels now lie by their place in the group, not by group.
    mix = mix_weight.view(channels, groups, _EXPANDED).transpose(1, 2).reshape(channels, -1)
    return F.linear(x_BPD, mix).view(batch, height, width, channels)


def _statistics(parts_BPG: list[Tensor], weight_OIG: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the expanded map per sample, (B,) each."""
    count = parts_BPG[0].shape[1] * parts_BPG[0].shape[2] * _EXPANDED
    sums_IG = weight_OIG.sum(0)
    means = [(part.sum(1) * sums_IG[i]).sum(1) for i, part in enumerate(parts_BPG)]
    squares = []
    for i in range(HEADS):
        for j in range(i, HEADS):
            products_G = (weight_OIG[:, i] * weight_OIG[:, j]).sum(0) * (1 if i == j else 2)
            squares.append(((parts_BPG[i] * parts_BPG[j]).sum(1) * products_G).sum(1))
    mean_B = torch.stack(means).sum(0) / count
    mean_square_B = torch.stack(squares).sum(0) / count
    return mean_B, (mean_square_B - mean_B.square()).clamp_min(0)
