"""SPAM's token mixing, multi-scale depthwise convolution and spectral re-scaling, in one operator.

``local_mixing_reference`` is readable and always right. ``local_mixing`` is a registered operator
that a GPU's tensor cores run in one pass over the memory. It needs Triton: import it from
``spanetv2.ops.local_mixing.operator``, after ``can_fuse`` or ``use_fused`` said yes.
"""

from spanetv2.ops.local_mixing.choice import LARGEST_GRID, can_fuse, use_fused
from spanetv2.ops.local_mixing.reference import local_mixing_reference, pack_kernels

__all__ = ["LARGEST_GRID", "can_fuse", "local_mixing_reference", "pack_kernels", "use_fused"]
