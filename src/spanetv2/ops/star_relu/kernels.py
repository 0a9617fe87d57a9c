"""Triton kernels of ``star_relu``, over contiguous values."""

# Triton's annotations are for its compiler.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportOperatorIssue=false

import triton
import triton.language as tl

__all__ = ["backward", "forward"]


@triton.jit
def forward(x, scale, bias, out, count, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    positive = tl.maximum(tl.load(x + at, mask=at < count, other=0.0).to(tl.float32), 0.0)
    y = tl.load(scale).to(tl.float32) * positive * positive + tl.load(bias).to(tl.float32)
    tl.store(out + at, y.to(out.dtype.element_ty), mask=at < count)


@triton.jit
def backward(x, grad, scale, grad_x, sums, count, TURNS: tl.constexpr, BLOCK: tl.constexpr):
    """Program (TURNS blocks): the gradient of x, and its share of those of scale and bias."""
    factor = 2.0 * tl.load(scale).to(tl.float32)
    of_scale = tl.zeros((BLOCK,), dtype=tl.float32)
    of_bias = tl.zeros((BLOCK,), dtype=tl.float32)
    start = tl.program_id(0).to(tl.int64) * (TURNS * BLOCK)
    for turn in range(TURNS):
        at = start + turn * BLOCK + tl.arange(0, BLOCK)
        positive = tl.maximum(tl.load(x + at, mask=at < count, other=0.0).to(tl.float32), 0.0)
        outward = tl.load(grad + at, mask=at < count, other=0.0).to(tl.float32)
        tl.store(
            grad_x + at, (factor * positive * outward).to(grad_x.dtype.element_ty), mask=at < count
        )
        of_scale += positive * positive * outward
        of_bias += outward
    tl.store(sums + tl.program_id(0) * 2, tl.sum(of_scale))
    tl.store(sums + tl.program_id(0) * 2 + 1, tl.sum(of_bias))
