"""Triton kernels of ``multiscale_spectral``: a program holds the whole map of one channel.

The map (at most 64 x 64 tokens) is read once; the convolution's shifted reads hit the cache, the
Fourier transforms are matrix products on registers, and the result is written once. Everything is
accumulated in float32.

Names: H, W the grid; HP, WP, KP the next powers of two (at least 16, as ``tl.dot`` wants) of H, W
and K = W // 2 + 1. Matrices of cosines and sines are padded with zeros, so that padded tokens and
frequencies stay 0.
"""

# Triton's annotations are for its compiler.
# pyright: reportArgumentType=false

import triton
import triton.language as tl

__all__ = ["filter_backward", "forward", "taps_backward"]


@triton.jit
def _dot(a, b, PRECISION: tl.constexpr):
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def _convolve(
    source,
    kernels,
    channel,
    radius,
    H: tl.constexpr,
    W: tl.constexpr,
    HP: tl.constexpr,
    WP: tl.constexpr,
    SIGN: tl.constexpr,
    T: tl.constexpr,
):
    """Sum of shifted maps; SIGN = 1 correlates (forward), -1 convolves (its transpose)."""
    row = tl.arange(0, HP)[:, None]
    column = tl.arange(0, WP)[None, :]
    total = tl.zeros((HP, WP), dtype=tl.float32)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            weight = tl.load(kernels + channel * T * T + (dy + T // 2) * T + dx + T // 2)
            y = row + SIGN * dy
            x = column + SIGN * dx
            inside = (y >= 0) & (y < H) & (x >= 0) & (x < W) & (row < H) & (column < W)
            value = tl.load(source + y * W + x, mask=inside, other=0.0)
            total += weight.to(tl.float32) * value.to(tl.float32)
    return total


@triton.jit
def _matrix(source, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    offsets = tl.arange(0, ROWS)[:, None] * COLUMNS + tl.arange(0, COLUMNS)[None, :]
    return tl.load(source + offsets)


@triton.jit
def _to_spectrum(y, cos_w, sin_w, cos_h, sin_h, PRECISION: tl.constexpr):
    """Map (HP, WP) to real and imaginary part (HP, KP); cos_w and sin_w are (WP, KP)."""
    real = _dot(y, cos_w, PRECISION)
    imaginary = -_dot(y, sin_w, PRECISION)
    return (
        _dot(cos_h, real, PRECISION) + _dot(sin_h, imaginary, PRECISION),
        _dot(cos_h, imaginary, PRECISION) - _dot(sin_h, real, PRECISION),
    )


@triton.jit
def _to_map(real, imaginary, back_cos_w, back_sin_w, cos_h, sin_h, PRECISION: tl.constexpr):
    """The way back; back_cos_w and back_sin_w are (KP, WP) and count mirrored columns twice."""
    r = _dot(cos_h, real, PRECISION) - _dot(sin_h, imaginary, PRECISION)
    i = _dot(cos_h, imaginary, PRECISION) + _dot(sin_h, real, PRECISION)
    return _dot(r, back_cos_w, PRECISION) - _dot(i, back_sin_w, PRECISION)


@triton.jit
def _gain(gain, channel, H: tl.constexpr, K: tl.constexpr, HP: tl.constexpr, KP: tl.constexpr):
    row = tl.arange(0, HP)[:, None]
    column = tl.arange(0, KP)[None, :]
    inside = (row < H) & (column < K)
    return tl.load(gain + channel * H * K + row * K + column, mask=inside, other=0.0)


@triton.jit
def forward(
    x,
    kernels,
    bias,
    gain,
    cos_w,
    sin_w,
    back_cos_w,
    back_sin_w,
    cos_h,
    sin_h,
    out,
    channels,
    H: tl.constexpr,
    W: tl.constexpr,
    K: tl.constexpr,
    HP: tl.constexpr,
    WP: tl.constexpr,
    KP: tl.constexpr,
    T: tl.constexpr,
    HEADS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One program per channel and image: out = filter(convolution(x) + bias)."""
    channel = tl.program_id(0)
    image = tl.program_id(1).to(tl.int64)
    radius = 1 + channel // (channels // HEADS)
    source = x + (image * channels + channel) * H * W
    row = tl.arange(0, HP)[:, None]
    column = tl.arange(0, WP)[None, :]
    inside = (row < H) & (column < W)
    y = _convolve(source, kernels, channel, radius, H, W, HP, WP, 1, T)
    y = tl.where(inside, y + tl.load(bias + channel).to(tl.float32), 0.0)
    cos_rows = _matrix(cos_h, HP, HP)
    sin_rows = _matrix(sin_h, HP, HP)
    real, imaginary = _to_spectrum(
        y, _matrix(cos_w, WP, KP), _matrix(sin_w, WP, KP), cos_rows, sin_rows, PRECISION
    )
    g = _gain(gain, channel, H, K, HP, KP)
    z = _to_map(
        real * g,
        imaginary * g,
        _matrix(back_cos_w, KP, WP),
        _matrix(back_sin_w, KP, WP),
        cos_rows,
        sin_rows,
        PRECISION,
    )
    target = out + (image * channels + channel) * H * W + row * W + column
    tl.store(target, z.to(out.dtype.element_ty), mask=inside)


@triton.jit
def filter_backward(
    x,
    kernels,
    bias,
    gain,
    cos_w,
    sin_w,
    back_cos_w,
    back_sin_w,
    cos_h,
    sin_h,
    grad_out,
    grad_y,
    grad_gain,
    grad_bias,
    images,
    channels,
    H: tl.constexpr,
    W: tl.constexpr,
    K: tl.constexpr,
    HP: tl.constexpr,
    WP: tl.constexpr,
    KP: tl.constexpr,
    T: tl.constexpr,
    HEADS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One program per channel and share of the batch: through the filter, which is symmetric.

    Writes the gradient of the convolution's output, and this share's sums for gain and bias. The
    convolution is computed again rather than kept.
    """
    channel = tl.program_id(0)
    share = tl.program_id(1)
    first = share.to(tl.int64)
    shares = tl.num_programs(1)
    radius = 1 + channel // (channels // HEADS)
    row = tl.arange(0, HP)[:, None]
    column = tl.arange(0, WP)[None, :]
    inside = (row < H) & (column < W)
    g = _gain(gain, channel, H, K, HP, KP)
    gain_sum = tl.zeros((HP, KP), dtype=tl.float32)
    bias_sum = tl.zeros((HP, WP), dtype=tl.float32)
    offset = tl.load(bias + channel).to(tl.float32)
    cos_rows = _matrix(cos_h, HP, HP)
    sin_rows = _matrix(sin_h, HP, HP)
    cos_columns = _matrix(cos_w, WP, KP)
    sin_columns = _matrix(sin_w, WP, KP)
    back_cos = _matrix(back_cos_w, KP, WP)
    back_sin = _matrix(back_sin_w, KP, WP)
    # A mirrored column counts twice in the gradient of its gain: the ratio of the two matrices.
    k = tl.arange(0, KP)[None, :]
    times = tl.where((k == 0) | (2 * k == W), 1.0, 2.0)
    for turn in range((images - share + shares - 1) // shares):
        start = ((first + turn * shares) * channels + channel) * H * W
        y = _convolve(x + start, kernels, channel, radius, H, W, HP, WP, 1, T)
        y = tl.where(inside, y + offset, 0.0)
        d = tl.load(grad_out + start + row * W + column, mask=inside, other=0.0).to(tl.float32)
        real, imaginary = _to_spectrum(y, cos_columns, sin_columns, cos_rows, sin_rows, PRECISION)
        d_real, d_imaginary = _to_spectrum(
            d, cos_columns, sin_columns, cos_rows, sin_rows, PRECISION
        )
        gain_sum += times * (real * d_real + imaginary * d_imaginary)
        dy = _to_map(d_real * g, d_imaginary * g, back_cos, back_sin, cos_rows, sin_rows, PRECISION)
        dy = tl.where(inside, dy, 0.0)
        bias_sum += dy
        tl.store(grad_y + start + row * W + column, dy.to(grad_y.dtype.element_ty), mask=inside)
    k_inside = (row < H) & (k < K)
    target = grad_gain + (share * channels + channel) * H * K + row * K + k
    tl.store(target, gain_sum, mask=k_inside)
    tl.store(grad_bias + share * channels + channel, tl.sum(bias_sum))


@triton.jit
def taps_backward(
    x,
    kernels,
    grad_y,
    grad_x,
    grad_kernels,
    images,
    channels,
    H: tl.constexpr,
    W: tl.constexpr,
    HP: tl.constexpr,
    WP: tl.constexpr,
    T: tl.constexpr,
    HEADS: tl.constexpr,
    TP: tl.constexpr,
):
    """One program per channel and share of the batch: gradients of the input and of the taps."""
    channel = tl.program_id(0)
    share = tl.program_id(1)
    first = share.to(tl.int64)
    shares = tl.num_programs(1)
    radius = 1 + channel // (channels // HEADS)
    row = tl.arange(0, HP)[:, None]
    column = tl.arange(0, WP)[None, :]
    inside = (row < H) & (column < W)
    tap = tl.arange(0, TP)
    taps = tl.zeros((TP,), dtype=tl.float32)
    for turn in range((images - share + shares - 1) // shares):
        start = ((first + turn * shares) * channels + channel) * H * W
        dx_map = _convolve(grad_y + start, kernels, channel, radius, H, W, HP, WP, -1, T)
        here = start + row * W + column
        tl.store(grad_x + here, dx_map.to(grad_x.dtype.element_ty), mask=inside)
        d = tl.load(grad_y + here, mask=inside, other=0.0).to(tl.float32)
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                y_at = row + dy
                x_at = column + dx
                read = inside & (y_at >= 0) & (y_at < H) & (x_at >= 0) & (x_at < W)
                value = tl.load(x + start + y_at * W + x_at, mask=read, other=0.0).to(tl.float32)
                total = tl.sum(d * value)
                taps += tl.where(tap == (dy + T // 2) * T + dx + T // 2, total, 0.0)
    tl.store(grad_kernels + (share * channels + channel) * T * T + tap, taps, mask=tap < T * T)
