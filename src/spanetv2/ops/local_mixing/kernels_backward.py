"""Triton kernels of ``local_mixing``'s way back; names and tiles as in ``kernels``."""

# Triton's annotations are for its compiler.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false

import triton
import triton.language as tl

from spanetv2.ops.kernel_product import product
from spanetv2.ops.local_mixing.kernels import (
    _filtered,
    _gains,
    _spectrum,
    _tile,
    _transformed_rows,
)

__all__ = ["backward_input", "backward_rows", "backward_spectrum"]


@triton.jit
def backward_spectrum(
    x,
    grad,
    rows,
    gains,
    row_waves,
    column_waves,
    grad_z,
    grad_gains,
    grad_shift,
    x_b,
    x_c,
    grad_b,
    grad_c,
    images,
    channels,
    H: tl.constexpr,
    W: tl.constexpr,
    HP: tl.constexpr,
    WP: tl.constexpr,
    PP: tl.constexpr,
    KP: tl.constexpr,
    KB: tl.constexpr,
    N: tl.constexpr,
    HEADS: tl.constexpr,
    UNSCALE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Program (channel, share of the batch, part): gradients back to the transformed rows.

    Writes those of the rows, (B, C, H, KP), and the share's sums for the gains, (C, 2, PP, Q), and
    for the shift. The rows are transformed again rather than kept.
    """
    channel = tl.program_id(0).to(tl.int64)
    share = tl.program_id(1).to(tl.int64)
    shares = tl.num_programs(1)
    part = tl.program_id(2)
    r = tl.arange(0, HP * N)
    h = r // N
    w = tl.arange(0, WP)
    radius = 1 + channel // (channels // HEADS)
    own = rows + (channel * (2 * HEADS + 1) + HEADS) * (WP * KP) + part * KB
    Q: tl.constexpr = W // 2 + 1
    even, odd = _gains(gains + channel * (2 * PP * Q), part, Q, PP, KB, N)
    even_sum = tl.zeros((PP, N * KB // 2), dtype=tl.float32)
    odd_sum = tl.zeros((PP, N * KB // 2), dtype=tl.float32)
    shift_sum = tl.zeros((HP * N,), dtype=tl.float32)
    for block in range(share, (images + N - 1) // N, shares):
        image = block * N + r % N
        place = (image * x_b + channel * x_c + h * W)[:, None] + w[None, :]
        row_inside = (image < images) & (h < H)
        inside = row_inside[:, None] & (w < W)[None, :]
        z = _transformed_rows(x, own, place, inside, h, radius, H, W, HP, WP, KP, KB, N, PRECISION)
        cos = _tile(row_waves, PP, HP, HP)
        sin = _tile(row_waves + PP * HP, PP, HP, HP)
        cc, cs, sc, ss = _spectrum(z, cos, sin, PP, N * KB // 2, PRECISION)
        place = (image * grad_b + channel * grad_c + h * W)[:, None] + w[None, :]
        g = tl.load(grad + place, mask=inside, other=0.0)
        shift_sum += tl.sum(g.to(tl.float32), axis=1)
        d = product(g, _tile(column_waves + KP * WP + part * KB, WP, KB, KP), None, PRECISION)
        d = tl.reshape(d.to(rows.dtype.element_ty), (HP, N * KB))
        cos = _tile(row_waves + 4 * PP * HP, PP, HP, HP)
        sin = _tile(row_waves + 5 * PP * HP, PP, HP, HP)
        dcc, dcs, dsc, dss = _spectrum(d, cos, sin, PP, N * KB // 2, PRECISION)
        even_sum += cc * dcc + cs * dcs + sc * dsc + ss * dss
        odd_sum += sc * dcs + cs * dsc - ss * dcc - cc * dss
        cos = _tile(row_waves + 6 * PP * HP, HP, PP, PP)
        sin = _tile(row_waves + 7 * PP * HP, HP, PP, PP)
        d = _filtered(dcc, dcs, dsc, dss, even, odd, cos, sin, HP, PP, KB, N, PRECISION)
        k = part * KB + tl.arange(0, KB)
        target = ((image * channels + channel) * H + h)[:, None] * KP + k[None, :]
        tl.store(grad_z + target, d, mask=row_inside[:, None])
    even_sum = tl.sum(tl.reshape(even_sum, (PP, N, KB // 2)), axis=1) * (UNSCALE * UNSCALE)
    odd_sum = tl.sum(tl.reshape(odd_sum, (PP, N, KB // 2)), axis=1) * (UNSCALE * UNSCALE)
    p = tl.arange(0, PP)[:, None]
    q = part * (KB // 2) + tl.arange(0, KB // 2)[None, :]
    target = (share * channels + channel) * (2 * PP * Q) + p * Q + q
    tl.store(grad_gains + target, even_sum, mask=q < Q)
    tl.store(grad_gains + PP * Q + target, odd_sum, mask=q < Q)
    tl.store(grad_shift + share * channels + channel, tl.sum(shift_sum), mask=part == 0)


@triton.jit
def backward_input(
    grad_z,
    rows,
    grad_x,
    x_b,
    x_c,
    images,
    channels,
    H: tl.constexpr,
    W: tl.constexpr,
    HP: tl.constexpr,
    WP: tl.constexpr,
    KP: tl.constexpr,
    KB: tl.constexpr,
    N: tl.constexpr,
    HEADS: tl.constexpr,
    UNSCALE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Program (channel, N images): the transposed convolution, row by row of taps."""
    channel = tl.program_id(0).to(tl.int64)
    r = tl.arange(0, HP * N)
    h = r // N
    image = tl.program_id(1).to(tl.int64) * N + r % N
    w = tl.arange(0, WP)
    inside = (image < images) & (h < H)
    first = (image * channels + channel) * H + h
    radius = 1 + channel // (channels // HEADS)
    own = rows + (channel * (2 * HEADS + 1) + HEADS) * (WP * KP)
    total = tl.zeros((HP * N, WP), dtype=tl.float32)
    for part in range(KP // KB):
        k = part * KB + tl.arange(0, KB)
        place = first[:, None] * KP + k[None, :]
        for dy in range(-radius, radius + 1):
            read = inside & (h - dy >= 0) & (h - dy < H)
            d = tl.load(grad_z + place - dy * KP, mask=read[:, None], other=0.0)
            turned = tl.trans(_tile(own + dy * (WP * KP) + part * KB, WP, KB, KP))
            total = product(d, turned, total, PRECISION)
    total = (total * UNSCALE).to(grad_x.dtype.element_ty)
    target = (image * x_b + channel * x_c + h * W)[:, None] + w[None, :]
    tl.store(grad_x + target, total, mask=inside[:, None] & (w < W)[None, :])


@triton.jit
def backward_rows(
    x,
    grad_z,
    grad_rows,
    x_b,
    x_c,
    images,
    channels,
    H: tl.constexpr,
    W: tl.constexpr,
    HP: tl.constexpr,
    WP: tl.constexpr,
    KP: tl.constexpr,
    KB: tl.constexpr,
    N: tl.constexpr,
    HEADS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Program (channel, row of taps and part, share of the batch): gradient of the row's matrix.

    Every share writes its own sum. Rows of taps beyond a head's kernel get zeros.
    """
    channel = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1) % (KP // KB)
    dy = tl.program_id(1) // (KP // KB) - HEADS
    share = tl.program_id(2).to(tl.int64)
    shares = tl.num_programs(2)
    r = tl.arange(0, HP * N)
    h = r // N
    k = part * KB + tl.arange(0, KB)
    w = tl.arange(0, WP)
    radius = 1 + channel // (channels // HEADS)
    blocks = tl.where((dy <= radius) & (-dy <= radius), (images + N - 1) // N, 0)
    total = tl.zeros((WP, KB), dtype=tl.float32)
    for block in range(share, blocks, shares):
        image = block * N + r % N
        first = (image * channels + channel) * H + h
        inside = (image < images) & (h < H)
        read = inside & (h + dy >= 0) & (h + dy < H)
        place = (image * x_b + channel * x_c + (h + dy) * W)[:, None] + w[None, :]
        row = tl.load(x + place, mask=read[:, None] & (w < W)[None, :], other=0.0)
        place = first[:, None] * KP + k[None, :]
        d = tl.load(grad_z + place, mask=inside[:, None], other=0.0)
        total = product(tl.trans(row), d, total, PRECISION)
    target = ((share * channels + channel) * (2 * HEADS + 1) + dy + HEADS) * (WP * KP)
    tl.store(grad_rows + target + w[:, None] * KP + k[None, :], total)
