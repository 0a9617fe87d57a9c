"""Triton kernels of ``depthwise_heads``: a row of taps is a band matrix.

Sixteen neighbouring values of the result need 2 x 4 values more of the map, so that a row of taps
is a (32, 16) matrix with the taps along its diagonals, and the convolution a sum over rows of taps
of products, which tensor cores do. A tile is BM pieces of sixteen columns.

Names: H, W the grid; R reach of a head's kernel, 1 to 4; VEC what the places of pieces are a
multiple of.
"""

# Triton's annotations are for its compiler.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportOperatorIssue=false

import triton
import triton.language as tl

from spanetv2.ops.kernel_product import product

__all__ = ["PIECE", "WINDOW", "convolve", "gradient_of_bands"]

PIECE = 16
"""Columns of the result that a product makes."""
WINDOW = 32
"""Columns of the map that it reads, from 8 before the piece."""


@triton.jit
def _piece(piece, W: tl.constexpr):
    per_row: tl.constexpr = (W + 15) // 16
    return piece // per_row, (piece % per_row) * 16


@triton.jit
def _window(x, row, first, H: tl.constexpr, W: tl.constexpr, VEC: tl.constexpr):
    """The map from 8 columns before a piece, in one row; zero outside the grid."""
    column = tl.multiple_of(first - 8, 8)[:, None] + tl.arange(0, 32)[None, :]
    ok = ((row >= 0) & (row < H))[:, None] & (column >= 0) & (column < W)
    return tl.load(x + tl.multiple_of(row * W, VEC)[:, None] + column, mask=ok, other=0.0)


@triton.jit
def convolve(
    x,
    bands,
    bias,
    out,
    C,
    HEAD,
    H: tl.constexpr,
    W: tl.constexpr,
    VEC: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    PRECISION: tl.constexpr,
    BM: tl.constexpr,
):
    """Program (pieces, channel, image): bands (C, 9, WINDOW, PIECE), HEAD channels a head."""
    c = tl.program_id(1)
    place = (tl.program_id(2).to(tl.int64) * C + c) * (H * W)
    row, first = _piece(tl.program_id(0) * BM + tl.arange(0, BM), W)
    reach = 1 + c // HEAD
    at = tl.arange(0, 32)[:, None] * 16 + tl.arange(0, 16)[None, :]
    total = tl.zeros((BM, 16), dtype=tl.float32)
    for dy in range(-reach, reach + 1):
        values = _window(x + place, tl.where(row < H, row + dy, H), first, H, W, VEC)
        band = tl.load(bands + (c * 9 + dy + 4) * (512) + at)
        total = product(values, band, total, PRECISION)
    if HAS_BIAS:
        total += tl.load(bias + c).to(tl.float32)
    column = tl.multiple_of(first, 8)[:, None] + tl.arange(0, 16)[None, :]
    target = out + place + tl.multiple_of(row * W, VEC)[:, None] + column
    tl.store(target, total.to(out.dtype.element_ty), mask=(row < H)[:, None] & (column < W))


@triton.jit
def gradient_of_bands(
    x,
    grad,
    sums,
    images,
    C,
    HEAD,
    H: tl.constexpr,
    W: tl.constexpr,
    VEC: tl.constexpr,
    PRECISION: tl.constexpr,
    BM: tl.constexpr,
):
    """Program (channel, row of taps, share of the images): sums (shares, C, 9, WINDOW, PIECE)."""
    c = tl.program_id(0)
    dy = tl.program_id(1) - 4
    share = tl.program_id(2)
    shares = tl.num_programs(2)
    pieces: tl.constexpr = H * ((W + 15) // 16)
    blocks: tl.constexpr = (pieces + BM - 1) // BM
    total = tl.zeros((32, 16), dtype=tl.float32)
    work = ((images - share + shares - 1) // shares) * blocks
    if (dy < -1 - c // HEAD) | (dy > 1 + c // HEAD):  # beyond the head's kernel
        work = work * 0
    for turn in range(work):
        image = (share + (turn // blocks) * shares).to(tl.int64)
        place = (image * C + c) * (H * W)
        row, first = _piece((turn % blocks) * BM + tl.arange(0, BM), W)
        values = _window(x + place, tl.where(row < H, row + dy, H), first, H, W, VEC)
        column = tl.multiple_of(first, 8)[:, None] + tl.arange(0, 16)[None, :]
        ok = (row < H)[:, None] & (column < W)
        at = grad + place + tl.multiple_of(row * W, VEC)[:, None] + column
        outward = tl.load(at, mask=ok, other=0.0)
        total = product(tl.trans(values), outward, total, PRECISION)
    at = tl.arange(0, 32)[:, None] * 16 + tl.arange(0, 16)[None, :]
    tl.store(sums + ((share * C + c) * 9 + dy + 4) * (512) + at, total)
