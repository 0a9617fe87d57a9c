"""SPAM's projection: grouped expansion, GroupNorm, GELU, and a full 1x1 convolution."""

from spanetv2.ops.grouped_mix.moments import grouped_mix_moments, prefer_moments
from spanetv2.ops.grouped_mix.reference import grouped_mix

__all__ = ["grouped_mix", "grouped_mix_moments", "prefer_moments"]
