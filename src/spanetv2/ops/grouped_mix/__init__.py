"""SPAM's projection: grouped expansion, GroupNorm, GELU, and a full 1x1 convolution."""

from spanetv2.ops.grouped_mix.packed import grouped_mix_packed, prefer_packed
from spanetv2.ops.grouped_mix.reference import grouped_mix

__all__ = ["grouped_mix", "grouped_mix_packed", "prefer_packed"]
