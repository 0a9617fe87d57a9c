"""SPAM's depthwise convolutions of four sizes as one operator, for grids of any size on a GPU.

The operator needs Triton: import it from ``spanetv2.ops.depthwise.operator``, after ``can_launch``
said yes. Its definition is ``conv2d`` with the packed kernels.
"""
