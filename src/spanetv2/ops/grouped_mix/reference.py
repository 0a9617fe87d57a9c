"""SPAM's projection as its definition reads: grouped 1x1, GroupNorm, GELU, full 1x1.

Shape suffixes: B batch, C channels, H and W the grid in tokens, D = 2C expanded channels.
"""

import torch.nn.functional as F
from torch import Tensor

from spanetv2.ops.heads import HEADS, interleave_heads

__all__ = ["grouped_mix"]


def grouped_mix(
    x_BHWC: Tensor,
    grouped_weight: Tensor,
    norm_weight_D: Tensor,
    norm_bias_D: Tensor,
    mix_weight: Tensor,
    interleaved: bool,
    eps: float,
) -> Tensor:
    """Expand groups of four channels to eight, normalise, GELU, and mix all channels.

    Args:
        x_BHWC: feature maps, (B, H, W, C), the four heads one after another.
        grouped_weight: weight of the grouped 1x1 convolution, (2C, 4, 1, 1), C / 4 groups.
        norm_weight_D: weight of GroupNorm (one group over all channels), (2C,).
        norm_bias_D: its bias, (2C,).
        mix_weight: weight of the 1x1 convolution back, (C, 2C, 1, 1).
        interleaved: whether a group sees one channel of every head, or four neighbours.
        eps: added to the variance.

    Returns:
        Tensor (B, H, W, C).

    Source: SPANetV2, SPAM's projection.
    """
    x_BCHW = x_BHWC.permute(0, 3, 1, 2)
    if interleaved:
        x_BCHW = interleave_heads(x_BCHW)
    x_BDHW = F.conv2d(x_BCHW, grouped_weight, groups=x_BHWC.shape[3] // HEADS)
    x_BDHW = F.gelu(F.group_norm(x_BDHW, 1, norm_weight_D, norm_bias_D, eps))
    return F.conv2d(x_BDHW, mix_weight).permute(0, 2, 3, 1)
