"""A product on tensor cores, as a piece of Triton kernels, and its precision."""

# Triton's annotations are for its compiler.
# pyright: reportArgumentType=false

import torch
import triton
import triton.language as tl

from spanetv2.ops.kernel_operator import interpreted

__all__ = ["precision_of", "product"]

_ONE_PASS = "widened" if interpreted() else "tf32"


def precision_of(dtype: torch.dtype) -> str:
    """How ``product`` multiplies maps of a dtype: float32 in three passes."""
    return "tf32x3" if dtype == torch.float32 else _ONE_PASS


@triton.jit
def product(a, b, total, PRECISION: tl.constexpr):
    """``total`` plus a product; "widened" for the interpreter, which would multiply raw bits."""
    if PRECISION == "widened":
        return tl.dot(a.to(tl.float32), b.to(tl.float32), total)
    return tl.dot(a, b, total, input_precision=PRECISION)
