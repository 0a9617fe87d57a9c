"""SPAM's projection as matrix products: sixteen groups at a time.

A group takes four channels to eight, too few to fill a processor's vectors, and compilers turn such
a convolution into loops. Sixteen groups are a (64, 128) matrix with zeros off its blocks: sixteen
times the multiplications, at the speed of a product. That is still less than the projection behind
it from 64 channels on. GroupNorm over all channels is a LayerNorm over a sample's tokens and
channels.

Run eagerly this is slower than the reference, as it moves the map more often; compiled it is
faster, backwards more than twice.

Shape suffixes: B batch, C channels, H and W the grid in tokens, N = H W, D = 2C expanded channels,
G = C / 4 groups, I the four channels of a group, O the eight that it is expanded to, S packs of P
groups, L = B N.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from spanetv2.ops.heads import HEADS

__all__ = ["grouped_mix_packed", "prefer_packed"]

_EXPANDED = 2 * HEADS
_PACK = 16


def prefer_packed() -> bool:
    """Whether ``grouped_mix_packed`` is faster than ``grouped_mix``, here and now.

    It is while a graph is compiled; not in an exported graph, which nobody may fuse.
    """
    return torch.compiler.is_compiling() and not torch.compiler.is_exporting()


def grouped_mix_packed(
    x_BHWC: Tensor,
    grouped_weight: Tensor,
    norm_weight_D: Tensor,
    norm_bias_D: Tensor,
    mix_weight: Tensor,
    interleaved: bool,
    eps: float,
) -> Tensor:
    """``grouped_mix`` with the same arguments and result.

    Source: SPANetV2, SPAM's projection.
    """
    batch, height, width, channels = x_BHWC.shape
    tokens, groups = height * width, channels // HEADS
    size = math.gcd(groups, _PACK)
    packs = groups // size
    weight_SPIO = grouped_weight.view(packs, size, _EXPANDED, HEADS).transpose(2, 3)
    apart_PP = torch.eye(size, dtype=x_BHWC.dtype, device=x_BHWC.device)
    if interleaved:
        # the inputs of a pack: its part of the first head, of the second, ...
        x_LISP = x_BHWC.reshape(batch * tokens, HEADS, packs, size)
        x_SLK = x_LISP.permute(2, 0, 1, 3).flatten(2)
        weight_SIPO = weight_SPIO.transpose(1, 2)
        weight_SKO = weight_SIPO[:, :, :, None] * apart_PP[:, :, None]
    else:
        x_SLK = x_BHWC.reshape(batch * tokens, packs, HEADS * size).transpose(0, 1)
        weight_SKO = weight_SPIO[:, :, :, None] * apart_PP[:, None, :, None]
    weight_SKO = weight_SKO.reshape(packs, HEADS * size, size * _EXPANDED)
    y_SLO = torch.bmm(x_SLK, weight_SKO)
    y_BND = y_SLO.transpose(0, 1).reshape(batch, tokens, 2 * channels)
    y_BND = F.layer_norm(y_BND, (tokens, 2 * channels), eps=eps)
    y_BND = F.gelu(y_BND * norm_weight_D + norm_bias_D)
    return F.linear(y_BND, mix_weight.flatten(1)).view(batch, height, width, channels)
