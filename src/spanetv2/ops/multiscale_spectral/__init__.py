"""Multi-scale depthwise convolution and spectral re-scaling, the two halves of SPAM's token mixing.

``multiscale_spectral_reference`` is readable and always right; ``multiscale_spectral`` is one
registered operator that a GPU runs in one pass over the memory. The operator needs Triton:
import it from ``spanetv2.ops.multiscale_spectral.operator``, after ``can_fuse`` said yes.
"""

from spanetv2.ops.multiscale_spectral.choice import LARGEST_GRID, can_fuse
from spanetv2.ops.multiscale_spectral.reference import (
    multiscale_spectral_reference,
    pack_kernels,
)

__all__ = ["LARGEST_GRID", "can_fuse", "multiscale_spectral_reference", "pack_kernels"]
