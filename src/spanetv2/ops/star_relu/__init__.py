"""StarReLU in one pass over the memory, for GPUs that run eagerly.

As written it is four steps, each of which reads and writes the hidden map; a compiler fuses them by
itself. The operator needs Triton: import it from ``spanetv2.ops.star_relu.operator``, after
``use_star_relu`` said yes.
"""

from spanetv2.ops.star_relu.choice import use_star_relu

__all__ = ["use_star_relu"]
