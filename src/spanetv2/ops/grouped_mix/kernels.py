"""Triton kernels of ``grouped_mix``: statistics, expansion, norm and GELU, and their gradients.

A group takes four rows of tokens to eight. Rows of the map y lie anywhere (``y_b`` and ``y_c``
apart), the tokens of a row together. Rows of z, what the map is expanded to, are in the order
(row, image, token), so that the products before and behind it are one each for the whole batch.

Names: B images, C channels, N tokens, G = C / 4 groups; GB groups and BN tokens of a program; a
share is a part of the tokens or of the work. Channel i of group g is ``g * step_g + i * step_i``.
"""

# Triton's annotations are for its compiler.
# pyright: reportArgumentType=false, reportGeneralTypeIssues=false, reportOperatorIssue=false

import triton
import triton.language as tl

__all__ = ["MOMENTS", "expansion", "gradient_of_map", "gradient_sums", "statistics"]

MOMENTS = tl.constexpr(14)
"""Of a group's four rows: four sums, and ten sums of products."""


@triton.jit
def _normal(u):
    """Distribution function and ``exp(-u^2 / 2)`` of the normal distribution.

    Both of one exponential; the error is below 1e-7 (Abramowitz and Stegun, 7.1.26).
    """
    bell = tl.exp(-0.5 * u * u)
    t = 1.0 / (1.0 + 0.2316418977 * tl.abs(u))
    series = 1.061405429 * t - 1.453152027
    series = series * t + 1.421413741
    series = series * t - 0.284496736
    series = series * t + 0.254829592
    tail = 0.5 * series * t * bell
    return tl.where(u < 0, tail, 1.0 - tail), bell


@triton.jit
def _row(y, b, channel, y_b, y_c, VEC: tl.constexpr):
    return y + tl.multiple_of(b * y_b + channel.to(tl.int64) * y_c, VEC)


@triton.jit
def _weights(weight, row):
    """The four weights of output rows."""
    w0 = tl.load(weight + row * 4).to(tl.float32)
    w1 = tl.load(weight + row * 4 + 1).to(tl.float32)
    w2 = tl.load(weight + row * 4 + 2).to(tl.float32)
    w3 = tl.load(weight + row * 4 + 3).to(tl.float32)
    return w0, w1, w2, w3


@triton.jit
def _read(at, n, ok):
    return tl.load(at[:, None] + n[None, :], mask=ok, other=0.0).to(tl.float32)


@triton.jit
def statistics(
    y,
    weight,
    partial,
    moments,
    G,
    y_b,
    y_c,
    step_g,
    step_i,
    N: tl.constexpr,
    SHARE: tl.constexpr,
    VEC: tl.constexpr,
    GB: tl.constexpr,
    BN: tl.constexpr,
):
    """Program (groups, share of the tokens, image): mean and sum of squares about it of the eight
    expanded rows of a group, and the moments of its four rows.

    All sums are taken about the share's first token, so that a map far from zero loses no digits.
    partial (B, shares, G, 2) and moments (B, shares, MOMENTS, G), float32.
    """
    g = tl.program_id(0) * GB + tl.arange(0, GB)
    share = tl.program_id(1)
    b = tl.program_id(2).to(tl.int64)
    live = g < G
    g = tl.minimum(g, G - 1)
    r0 = _row(y, b, g * step_g, y_b, y_c, VEC)
    r1 = _row(y, b, g * step_g + step_i, y_b, y_c, VEC)
    r2 = _row(y, b, g * step_g + 2 * step_i, y_b, y_c, VEC)
    r3 = _row(y, b, g * step_g + 3 * step_i, y_b, y_c, VEC)
    first = share * SHARE
    last = tl.minimum(first + SHARE, N)
    p0 = tl.load(r0 + first).to(tl.float32)
    p1 = tl.load(r1 + first).to(tl.float32)
    p2 = tl.load(r2 + first).to(tl.float32)
    p3 = tl.load(r3 + first).to(tl.float32)
    s0 = tl.zeros((GB, BN), dtype=tl.float32)
    s1, s2, s3 = s0, s0, s0
    q00, q01, q02, q03, q11, q12, q13, q22, q23, q33 = s0, s0, s0, s0, s0, s0, s0, s0, s0, s0
    for start in range(0, SHARE, BN):
        n = first + start + tl.arange(0, BN)
        ok = (live[:, None]) & (n < last)[None, :]
        y0 = tl.where(ok, _read(r0, n, ok) - p0[:, None], 0.0)
        y1 = tl.where(ok, _read(r1, n, ok) - p1[:, None], 0.0)
        y2 = tl.where(ok, _read(r2, n, ok) - p2[:, None], 0.0)
        y3 = tl.where(ok, _read(r3, n, ok) - p3[:, None], 0.0)
        s0 += y0
        s1 += y1
        s2 += y2
        s3 += y3
        q00 += y0 * y0
        q01 += y0 * y1
        q02 += y0 * y2
        q03 += y0 * y3
        q11 += y1 * y1
        q12 += y1 * y2
        q13 += y1 * y3
        q22 += y2 * y2
        q23 += y2 * y3
        q33 += y3 * y3
    count = (last - first).to(tl.float32)
    a0, a1, a2, a3 = tl.sum(s0, 1), tl.sum(s1, 1), tl.sum(s2, 1), tl.sum(s3, 1)
    b00, b01, b02, b03 = tl.sum(q00, 1), tl.sum(q01, 1), tl.sum(q02, 1), tl.sum(q03, 1)
    b11, b12, b13 = tl.sum(q11, 1), tl.sum(q12, 1), tl.sum(q13, 1)
    b22, b23, b33 = tl.sum(q22, 1), tl.sum(q23, 1), tl.sum(q33, 1)
    mean = tl.zeros((GB,), dtype=tl.float32)
    squares = tl.zeros((GB,), dtype=tl.float32)
    for o in tl.static_range(8):
        w0, w1, w2, w3 = _weights(weight, g * 8 + o)
        moved = (w0 * a0 + w1 * a1 + w2 * a2 + w3 * a3) / count
        product = w0 * (w0 * b00 + 2.0 * (w1 * b01 + w2 * b02 + w3 * b03))
        product += w1 * (w1 * b11 + 2.0 * (w2 * b12 + w3 * b13))
        product += w2 * (w2 * b22 + 2.0 * w3 * b23) + w3 * w3 * b33
        squares += product - count * moved * moved
        # The mean of the rows so far, and the squares about it (Chan, Golub and LeVeque).
        away = moved + w0 * p0 + w1 * p1 + w2 * p2 + w3 * p3 - mean
        mean += away / (o + 1.0)
        squares += count * away * away * (o / (o + 1.0))
    at = partial + ((b * tl.num_programs(1) + share) * G + g) * 2
    tl.store(at, mean, mask=live)
    tl.store(at + 1, squares, mask=live)
    at = moments + (b * tl.num_programs(1) + share) * (MOMENTS * G) + g
    tl.store(at, a0 + count * p0, mask=live)
    tl.store(at + G, a1 + count * p1, mask=live)
    tl.store(at + 2 * G, a2 + count * p2, mask=live)
    tl.store(at + 3 * G, a3 + count * p3, mask=live)
    tl.store(at + 4 * G, b00 + p0 * (2.0 * a0 + count * p0), mask=live)
    tl.store(at + 5 * G, b01 + p0 * a1 + p1 * (a0 + count * p0), mask=live)
    tl.store(at + 6 * G, b02 + p0 * a2 + p2 * (a0 + count * p0), mask=live)
    tl.store(at + 7 * G, b03 + p0 * a3 + p3 * (a0 + count * p0), mask=live)
    tl.store(at + 8 * G, b11 + p1 * (2.0 * a1 + count * p1), mask=live)
    tl.store(at + 9 * G, b12 + p1 * a2 + p2 * (a1 + count * p1), mask=live)
    tl.store(at + 10 * G, b13 + p1 * a3 + p3 * (a1 + count * p1), mask=live)
    tl.store(at + 11 * G, b22 + p2 * (2.0 * a2 + count * p2), mask=live)
    tl.store(at + 12 * G, b23 + p2 * a3 + p3 * (a2 + count * p2), mask=live)
    tl.store(at + 13 * G, b33 + p3 * (2.0 * a3 + count * p3), mask=live)


@triton.jit
def expansion(
    y,
    weight,
    scale,
    shift,
    partial,
    stat,
    z,
    images,
    G,
    y_b,
    y_c,
    step_g,
    step_i,
    eps,
    N: tl.constexpr,
    SHARE: tl.constexpr,
    SHARES: tl.constexpr,
    PARTS: tl.constexpr,
    VEC: tl.constexpr,
    GB: tl.constexpr,
    BN: tl.constexpr,
):
    """Program (tokens, groups, image): gelu(norm(expand(y))) to z (8 G, B, N).

    Every program puts the image's statistics together; the first one keeps them, as stat (B, 2),
    mean and reciprocal of the standard deviation.
    """
    b = tl.program_id(2).to(tl.int64)
    j = tl.arange(0, PARTS)
    known = j < SHARES * G
    first = (j // G) * SHARE
    count = tl.where(known, (tl.minimum(first + SHARE, N) - first).to(tl.float32), 0.0)
    at = partial + (b * (SHARES * G) + j) * 2
    means = tl.load(at, mask=known, other=0.0)
    total = G * (N * 1.0)
    mean = tl.sum(means * count) / total
    away = means - mean
    squares = tl.load(at + 1, mask=known, other=0.0) + 8.0 * count * away * away
    rstd = 1.0 / tl.sqrt(tl.sum(squares) / (8.0 * total) + eps)
    g = tl.program_id(1) * GB + tl.arange(0, GB)
    live = g < G
    if (tl.program_id(0) == 0) & (tl.program_id(1) == 0):
        tl.store(stat + b * 2, mean)
        tl.store(stat + b * 2 + 1, rstd)
    g = tl.minimum(g, G - 1)
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    ok = live[:, None] & (n < N)[None, :]
    y0 = _read(_row(y, b, g * step_g, y_b, y_c, VEC), n, ok)
    y1 = _read(_row(y, b, g * step_g + step_i, y_b, y_c, VEC), n, ok)
    y2 = _read(_row(y, b, g * step_g + 2 * step_i, y_b, y_c, VEC), n, ok)
    y3 = _read(_row(y, b, g * step_g + 3 * step_i, y_b, y_c, VEC), n, ok)
    for o in tl.static_range(8):
        row = g * 8 + o
        w0, w1, w2, w3 = _weights(weight, row)
        factor = tl.load(scale + row).to(tl.float32) * rstd
        offset = tl.load(shift + row).to(tl.float32) - mean * factor
        u = w0[:, None] * y0 + w1[:, None] * y1 + w2[:, None] * y2 + w3[:, None] * y3
        u = u * factor[:, None] + offset[:, None]
        below, _ = _normal(u)
        out = z + (row.to(tl.int64) * images + b)[:, None] * N + n[None, :]
        tl.store(out, (u * below).to(z.dtype.element_ty), mask=ok)


@triton.jit
def gradient_sums(
    y,
    grad,
    weight,
    scale,
    shift,
    stat,
    z,
    means,
    sums,
    images,
    G,
    y_b,
    y_c,
    step_g,
    step_i,
    N: tl.constexpr,
    CHUNK: tl.constexpr,
    CHUNKS: tl.constexpr,
    VEC: tl.constexpr,
    GB: tl.constexpr,
    BN: tl.constexpr,
):
    """Program (groups, share of the work): z once more, and the sums that all gradients need.

    With u = norm(expand(y)), x the same before scale and shift, and d the gradient of u: per item
    of work (image, chunk of its tokens) the sums of ``scale d`` and ``scale d x`` over all rows of
    the program, means (B CHUNKS, blocks, 2); and over all items of the share, per row, the sums of
    d, d x, and d y_i / std of the four inputs, sums (shares, 6, 8 G).
    """
    r = tl.program_id(0) * (8 * GB) + tl.arange(0, 8 * GB)
    live = r < 8 * G
    r = tl.minimum(r, 8 * G - 1)
    g = r // 8
    w0, w1, w2, w3 = _weights(weight, r)
    sc = tl.load(scale + r).to(tl.float32)
    sf = tl.load(shift + r).to(tl.float32)
    a0 = tl.zeros((8 * GB, BN), dtype=tl.float32)
    a1, a2, a3 = a0, a0, a0
    total = tl.zeros((8 * GB,), dtype=tl.float32)
    total_x = total
    share = tl.program_id(1)
    shares = tl.num_programs(1)
    for turn in range((images * CHUNKS - share + shares - 1) // shares):
        item = share + turn * shares
        b = (item // CHUNKS).to(tl.int64)
        first = (item % CHUNKS) * CHUNK
        last = tl.minimum(first + CHUNK, N)
        mean = tl.load(stat + b * 2)
        rstd = tl.load(stat + b * 2 + 1)
        r0 = _row(y, b, g * step_g, y_b, y_c, VEC)
        r1 = _row(y, b, g * step_g + step_i, y_b, y_c, VEC)
        r2 = _row(y, b, g * step_g + 2 * step_i, y_b, y_c, VEC)
        r3 = _row(y, b, g * step_g + 3 * step_i, y_b, y_c, VEC)
        z_row = tl.multiple_of((r.to(tl.int64) * images + b) * N, VEC)
        one = tl.zeros((8 * GB, BN), dtype=tl.float32)
        with_x = one
        for start in range(0, CHUNK, BN):
            n = first + start + tl.arange(0, BN)
            ok = live[:, None] & (n < last)[None, :]
            y0, y1, y2, y3 = _read(r0, n, ok), _read(r1, n, ok), _read(r2, n, ok), _read(r3, n, ok)
            x = w0[:, None] * y0 + w1[:, None] * y1 + w2[:, None] * y2 + w3[:, None] * y3
            x = (x - mean) * rstd
            u = x * sc[:, None] + sf[:, None]
            below, bell = _normal(u)
            at = z_row[:, None] + n[None, :]
            tl.store(z + at, (u * below).to(z.dtype.element_ty), mask=ok)
            d = tl.load(grad + at, mask=ok, other=0.0).to(tl.float32)
            d *= below + 0.3989422804014327 * u * bell
            one += d
            with_x += d * x
            d *= rstd
            a0 += d * y0
            a1 += d * y1
            a2 += d * y2
            a3 += d * y3
        one = tl.sum(one, 1)
        with_x = tl.sum(with_x, 1)
        total += one
        total_x += with_x
        at = means + (item * tl.num_programs(0) + tl.program_id(0)) * 2
        tl.store(at, tl.sum(sc * one))
        tl.store(at + 1, tl.sum(sc * with_x))
    at = sums + share * (48 * G) + r
    tl.store(at, total, mask=live)
    tl.store(at + 8 * G, total_x, mask=live)
    tl.store(at + 16 * G, tl.sum(a0, 1), mask=live)
    tl.store(at + 24 * G, tl.sum(a1, 1), mask=live)
    tl.store(at + 32 * G, tl.sum(a2, 1), mask=live)
    tl.store(at + 40 * G, tl.sum(a3, 1), mask=live)


@triton.jit
def gradient_of_map(
    y,
    grad,
    weight,
    scale,
    shift,
    stat,
    means,
    mean_grads,
    grad_y,
    images,
    G,
    y_b,
    y_c,
    grad_b,
    grad_c,
    step_g,
    step_i,
    N: tl.constexpr,
    PARTS: tl.constexpr,
    PADDED: tl.constexpr,
    VEC: tl.constexpr,
    GB: tl.constexpr,
    BN: tl.constexpr,
):
    """Program (tokens, groups, image): the gradient of y, in rows ``grad_b`` and ``grad_c`` apart.

    The sums of ``gradient_sums`` are put together in every program; the first one keeps the two
    means over the image, mean_grads (B, 2).
    """
    b = tl.program_id(2).to(tl.int64)
    j = tl.arange(0, PADDED)
    at = means + (b * PARTS + j) * 2
    total = 8.0 * G * (N * 1.0)
    m1 = tl.sum(tl.load(at, mask=j < PARTS, other=0.0)) / total
    m2 = tl.sum(tl.load(at + 1, mask=j < PARTS, other=0.0)) / total
    if (tl.program_id(0) == 0) & (tl.program_id(1) == 0):
        tl.store(mean_grads + b * 2, m1)
        tl.store(mean_grads + b * 2 + 1, m2)
    mean = tl.load(stat + b * 2)
    rstd = tl.load(stat + b * 2 + 1)
    g = tl.program_id(1) * GB + tl.arange(0, GB)
    live = g < G
    g = tl.minimum(g, G - 1)
    n = tl.program_id(0) * BN + tl.arange(0, BN)
    ok = live[:, None] & (n < N)[None, :]
    y0 = _read(_row(y, b, g * step_g, y_b, y_c, VEC), n, ok)
    y1 = _read(_row(y, b, g * step_g + step_i, y_b, y_c, VEC), n, ok)
    y2 = _read(_row(y, b, g * step_g + 2 * step_i, y_b, y_c, VEC), n, ok)
    y3 = _read(_row(y, b, g * step_g + 3 * step_i, y_b, y_c, VEC), n, ok)
    d0 = tl.zeros((GB, BN), dtype=tl.float32)
    d1, d2, d3 = d0, d0, d0
    for o in tl.static_range(8):
        row = g * 8 + o
        w0, w1, w2, w3 = _weights(weight, row)
        sc = tl.load(scale + row).to(tl.float32)
        sf = tl.load(shift + row).to(tl.float32)
        x = w0[:, None] * y0 + w1[:, None] * y1 + w2[:, None] * y2 + w3[:, None] * y3
        x = (x - mean) * rstd
        u = x * sc[:, None] + sf[:, None]
        below, bell = _normal(u)
        z_row = tl.multiple_of((row.to(tl.int64) * images + b) * N, VEC)
        d = tl.load(grad + z_row[:, None] + n[None, :], mask=ok, other=0.0).to(tl.float32)
        d *= below + 0.3989422804014327 * u * bell
        d = rstd * (sc[:, None] * d - m1 - x * m2)
        d0 += w0[:, None] * d
        d1 += w1[:, None] * d
        d2 += w2[:, None] * d
        d3 += w3[:, None] * d
    kind = grad_y.dtype.element_ty
    at = _row(grad_y, b, g * step_g, grad_b, grad_c, VEC)
    tl.store(at[:, None] + n[None, :], d0.to(kind), mask=ok)
    at = _row(grad_y, b, g * step_g + step_i, grad_b, grad_c, VEC)
    tl.store(at[:, None] + n[None, :], d1.to(kind), mask=ok)
    at = _row(grad_y, b, g * step_g + 2 * step_i, grad_b, grad_c, VEC)
    tl.store(at[:, None] + n[None, :], d2.to(kind), mask=ok)
    at = _row(grad_y, b, g * step_g + 3 * step_i, grad_b, grad_c, VEC)
    tl.store(at[:, None] + n[None, :], d3.to(kind), mask=ok)
