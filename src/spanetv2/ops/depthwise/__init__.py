"""SPAM's depthwise convolutions of four sizes as one operator, for grids of any size on a GPU.

The operator needs Triton: import it from ``spanetv2.ops.depthwise.operator``, after
``use_depthwise_heads`` said yes. Its definition is ``conv2d`` with the packed kernels.
"""

from spanetv2.ops.depthwise.choice import use_depthwise_heads

__all__ = ["use_depthwise_heads"]
