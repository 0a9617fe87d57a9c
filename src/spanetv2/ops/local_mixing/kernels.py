"""Triton kernels of ``local_mixing``: the way forward, and what the way back shares with it.

A program holds maps of one channel of a few images. Names: H, W the grid; HP, WP, PP, KP its tiles
(``matrices.Sizes``); Q = W // 2 + 1; N images a program; KB of the KP columns of a spectrum, which
are independent of one another, at a time. Tiles are [(h, image), w] for maps and [(h, image), (q,
cosine or sine)] for rows that are transformed; seen as [h, (image, q, ...)], which is the same
tile, the rows' transform is a product from the left. All sums are float32. ``x_b`` and ``x_c`` are
the steps from image to image and from channel to channel of x; a channel's tokens lie together.
"""

# Triton's annotations are for its compiler.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false

import triton
import triton.language as tl

from spanetv2.ops.kernel_product import product

__all__ = ["forward"]


@triton.jit
def _tile(source, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STRIDE: tl.constexpr):
    return tl.load(source + tl.arange(0, ROWS)[:, None] * STRIDE + tl.arange(0, COLUMNS)[None, :])


@triton.jit
def _transformed_rows(
    x,
    rows,
    place,
    inside,
    h,
    radius,
    H: tl.constexpr,
    W: tl.constexpr,
    HP: tl.constexpr,
    WP: tl.constexpr,
    KP: tl.constexpr,
    KB: tl.constexpr,
    N: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Convolution, and transform of the columns: [h, (image, q, cosine or sine)].

    ``rows`` points at the part's first column in the matrix of the middle row of taps.
    """
    z = tl.zeros((HP * N, KB), dtype=tl.float32)
    for dy in range(-radius, radius + 1):
        read = inside & ((h + dy >= 0) & (h + dy < H))[:, None]
        row = tl.load(x + place + dy * W, mask=read, other=0.0)
        z = product(row, _tile(rows + dy * (WP * KP), WP, KB, KP), z, PRECISION)
    return tl.reshape(z.to(rows.dtype.element_ty), (HP, N * KB))


@triton.jit
def _spectrum(z, cos, sin, PP: tl.constexpr, Q2: tl.constexpr, PRECISION: tl.constexpr):
    """[h, (image, q, ...)] to its four parts [p, (image, q)]: cc, cs, sc, ss."""
    cc, cs = tl.split(tl.reshape(product(cos, z, None, PRECISION), (PP, Q2, 2)))
    sc, ss = tl.split(tl.reshape(product(sin, z, None, PRECISION), (PP, Q2, 2)))
    return cc, cs, sc, ss


@triton.jit
def _filtered(
    cc,
    cs,
    sc,
    ss,
    even,
    odd,
    cos,
    sin,
    HP: tl.constexpr,
    PP: tl.constexpr,
    KB: tl.constexpr,
    N: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Gain, and the rows' way back: [(h, image), (q, cosine or sine)], in the dtype of ``cos``."""
    dtype = cos.dtype
    by_cos = tl.join(even * cc - odd * ss, even * cs + odd * sc).to(dtype)
    by_sin = tl.join(even * sc + odd * cs, even * ss - odd * cc).to(dtype)
    z = product(cos, tl.reshape(by_cos, (PP, N * KB)), None, PRECISION)
    z = product(sin, tl.reshape(by_sin, (PP, N * KB)), z, PRECISION)
    return tl.reshape(z.to(dtype), (HP * N, KB))


@triton.jit
def _gains(gains, part, Q: tl.constexpr, PP: tl.constexpr, KB: tl.constexpr, N: tl.constexpr):
    """Even and odd parts [p, (image, q)], the same for every image."""
    q = part * (KB // 2) + tl.arange(0, N * KB // 2) % (KB // 2)
    at = tl.arange(0, PP)[:, None] * Q + q[None, :]
    known = (q < Q)[None, :]
    even = tl.load(gains + at, mask=known, other=0.0)
    odd = tl.load(gains + PP * Q + at, mask=known, other=0.0)
    return even, odd


@triton.jit
def forward(
    x,
    rows,
    gains,
    shift,
    row_waves,
    column_waves,
    out,
    x_b,
    x_c,
    out_b,
    out_c,
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
    PRECISION: tl.constexpr,
):
    """Program (channel, N images): out = filter(convolution(x)) + shift."""
    channel = tl.program_id(0).to(tl.int64)
    r = tl.arange(0, HP * N)
    h = r // N
    image = tl.program_id(1).to(tl.int64) * N + r % N
    w = tl.arange(0, WP)
    place = (image * x_b + channel * x_c + h * W)[:, None] + w[None, :]
    inside = ((image < images) & (h < H))[:, None] & (w < W)[None, :]
    radius = 1 + channel // (channels // HEADS)
    own = rows + (channel * (2 * HEADS + 1) + HEADS) * (WP * KP)
    Q: tl.constexpr = W // 2 + 1
    y = tl.zeros((HP * N, WP), dtype=tl.float32)
    for part in range(KP // KB):
        first = own + part * KB
        z = _transformed_rows(
            x, first, place, inside, h, radius, H, W, HP, WP, KP, KB, N, PRECISION
        )
        cos = _tile(row_waves, PP, HP, HP)
        sin = _tile(row_waves + PP * HP, PP, HP, HP)
        cc, cs, sc, ss = _spectrum(z, cos, sin, PP, N * KB // 2, PRECISION)
        even, odd = _gains(gains + channel * (2 * PP * Q), part, Q, PP, KB, N)
        cos = _tile(row_waves + 2 * PP * HP, HP, PP, PP)
        sin = _tile(row_waves + 3 * PP * HP, HP, PP, PP)
        z = _filtered(cc, cs, sc, ss, even, odd, cos, sin, HP, PP, KB, N, PRECISION)
        y = product(z, _tile(column_waves + part * (KB * WP), KB, WP, WP), y, PRECISION)
    y += tl.load(shift + channel)
    place = (image * out_b + channel * out_c + h * W)[:, None] + w[None, :]
    tl.store(out + place, y.to(out.dtype.element_ty), mask=inside)
