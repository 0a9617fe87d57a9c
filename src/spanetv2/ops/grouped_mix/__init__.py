"""SPAM's projection: grouped expansion, GroupNorm, GELU, and a full 1x1 convolution.

``grouped_mix`` is readable and always right. ``grouped_mix_packed`` is made of matrix products;
``grouped_mix_fused`` is one registered operator for GPUs. It needs Triton: import it from
``spanetv2.ops.grouped_mix.operator``, after
``use_grouped_mix_fused`` said yes.
"""

from spanetv2.ops.grouped_mix.choice import use_grouped_mix_fused
from spanetv2.ops.grouped_mix.packed import grouped_mix_packed, prefer_packed
from spanetv2.ops.grouped_mix.reference import grouped_mix
from spanetv2.ops.grouped_mix.sliced import grouped_mix_sliced

__all__ = [
    "grouped_mix",
    "grouped_mix_packed",
    "grouped_mix_sliced",
    "prefer_packed",
    "use_grouped_mix_fused",
]
