"""``grouped_mix_fused``: the projection as a registered operator of Triton kernels and products.

The map is read once for the statistics and once for the expansion, and what it is expanded to is
written once and read once, by the product behind it. Backwards the expansion is made again, so that
between the passes only the map itself is kept: two times C values a token fewer.

Sums are float32. They are deterministic: every program writes its own, and they are added in order.

Shape suffixes: B batch, C channels, N tokens, D = 2C expanded channels, G = C / 4 groups, I the
four channels of a group, O the eight that it is expanded to, L = B N, S shares.
"""

# Triton's annotations are for its compiler.
# pyright: reportArgumentType=false

import math
from collections.abc import Callable
from typing import Any

import torch
import triton
from torch import Tensor

from spanetv2.ops.grouped_mix.kernels import (
    MOMENTS,
    expansion,
    gradient_of_map,
    gradient_sums,
    statistics,
)
from spanetv2.ops.grouped_mix.settings import SIZES, setting
from spanetv2.ops.heads import HEADS
from spanetv2.ops.kernel_operator import kernel_operator, wrap_triton

__all__ = ["grouped_mix_fused", "try_launches"]

_SHARE = 4096
"""Tokens that one program takes the statistics of."""
_CHUNK = 1024
"""Tokens of an item of the backward pass's work."""
_PROGRAMS = 2048
"""Of ``gradient_sums``: some for every multiprocessor of a large card."""
_Forward = tuple[Tensor, Tensor, Tensor]
_Backward = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def grouped_mix_fused(
    y_BCHW: Tensor,
    grouped_weight: Tensor,
    norm_weight_D: Tensor,
    norm_bias_D: Tensor,
    mix_weight: Tensor,
    interleaved: bool,
    eps: float,
) -> Tensor:
    """``grouped_mix`` of maps with channels first, to tokens.

    Args:
        y_BCHW: feature maps, (B, C, H, W), bfloat16, float16 or float32, the four heads one after
            another. Rows of tokens are best contiguous; where they lie does not matter.
        grouped_weight: weight of the grouped 1x1 convolution, (2C, 4, 1, 1), C / 4 groups.
        norm_weight_D: weight of GroupNorm (one group over all channels), (2C,).
        norm_bias_D: its bias, (2C,).
        mix_weight: weight of the 1x1 convolution back, (C, 2C, 1, 1); cast to the dtype of the map.
        interleaved: whether a group sees one channel of every head, or four neighbours.
        eps: added to the variance.

    Returns:
        Tensor (B, N, C) in the dtype of the map, or in autocast's.

    Source: SPANetV2, SPAM's projection.
    """
    kind = y_BCHW.device.type
    if torch.is_autocast_enabled(kind):
        y_BCHW = y_BCHW.to(torch.get_autocast_dtype(kind))
    out_BNC, _, _ = _forward(
        y_BCHW.flatten(2),
        grouped_weight.flatten(1),
        norm_weight_D,
        norm_bias_D,
        mix_weight.flatten(1).to(y_BCHW.dtype),
        interleaved,
        eps,
    )
    return out_BNC


def try_launches(
    channels: int, dtype: torch.dtype, device: torch.device, *, training: bool
) -> None:
    """Launch the kernels of every size on zeros; raises what a card that refuses them answers."""
    with (
        torch.inference_mode(False),
        torch.set_grad_enabled(training),
        torch.autocast(device.type, enabled=False),
    ):
        weight = torch.zeros(2 * channels, HEADS, 1, 1, dtype=dtype, device=device)
        mix = torch.zeros(channels, 2 * channels, 1, 1, dtype=dtype, device=device)
        scale = weight.new_ones(2 * channels)
        for tokens in SIZES:
            y = torch.zeros(1, channels, 1, tokens, dtype=dtype, device=device)
            y.requires_grad_(training)
            out = grouped_mix_fused(y, weight, scale, scale, mix, True, 1e-5)
            if training:
                out.sum().backward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _generation(x: Tensor) -> int:
    return torch.cuda.get_device_capability(x.device)[0] if x.is_cuda else 0


def _settings(kernel: str, y_BCN: Tensor) -> dict[str, int]:
    groups, tokens, warps = setting(kernel, int(y_BCN.shape[2]), _generation(y_BCN))
    return {"GB": groups, "BN": tokens, "num_warps": warps}


def _with_rows(y_BCN: Tensor) -> Tensor:
    """The map itself if the tokens of its rows lie together, or a copy where they do."""
    return y_BCN if y_BCN.stride(2) == 1 else y_BCN.contiguous()


def _place(y_BCN: Tensor, interleaved: bool) -> dict[str, int]:
    """Where the rows of the map are, and which rows make a group.

    Kernels are made for one number of tokens, and so are graphs of symbolic sizes from here on.
    """
    groups, tokens = int(y_BCN.shape[1]) // HEADS, int(y_BCN.shape[2])
    y_b, y_c = y_BCN.stride(0), y_BCN.stride(1)
    in_rows = y_b % tokens == 0 and y_c % tokens == 0
    return {
        "G": groups,
        "y_b": y_b,
        "y_c": y_c,
        "step_g": 1 if interleaved else HEADS,
        "step_i": groups if interleaved else 1,
        "N": tokens,
        "VEC": math.gcd(16, tokens) if in_rows else 1,
    }


def _shares(tokens: int) -> int:
    return triton.cdiv(tokens, _SHARE)


def _forward_like(
    y: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    mix: Tensor,
    interleaved: bool,
    eps: float,
) -> _Forward:
    images, channels, tokens = y.shape
    shares, groups = _shares(tokens), channels // HEADS
    return (
        y.new_empty(images, tokens, mix.shape[0]),
        y.new_empty(images, 2, dtype=torch.float32),
        y.new_empty(images, shares, MOMENTS.value, groups, dtype=torch.float32),
    )


@kernel_operator("spanetv2::grouped_mix", like=_forward_like)
def _forward(
    y: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    mix: Tensor,
    interleaved: bool,
    eps: float,
) -> _Forward:
    """y (B, C, N), weight (2C, 4), mix (C, 2C) to tokens, the statistics, and the moments."""
    out, stat, moments = _forward_like(y, weight, scale, shift, mix, interleaved, eps)
    images, channels, tokens = y.shape[0], int(y.shape[1]), int(y.shape[2])
    if not y.numel():
        return out, stat, moments
    y, weight = _with_rows(y), weight.contiguous()
    place = _place(y, interleaved)
    groups, shares = place["G"], _shares(tokens)
    share = min(_SHARE, tokens)
    partial = y.new_empty(images, shares, groups, 2, dtype=torch.float32)
    settings = _settings("statistics", y)
    wrap_triton(statistics)[(triton.cdiv(groups, settings["GB"]), shares, images)](
        y, weight, partial, moments, SHARE=share, **place, **settings
    )
    z_DL = y.new_empty(2 * channels, images * tokens)
    settings = _settings("expansion", y)
    grid = (triton.cdiv(tokens, settings["BN"]), triton.cdiv(groups, settings["GB"]), images)
    wrap_triton(expansion)[grid](
        y,
        weight,
        scale,
        shift,
        partial,
        stat,
        z_DL,
        images,
        eps=eps,
        SHARE=share,
        SHARES=shares,
        PARTS=triton.next_power_of_2(shares * groups),
        **place,
        **settings,
    )
    return torch.mm(z_DL.t(), mix.t()).view(out.shape), stat, moments


def _backward_like(
    grad: Tensor,
    y: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    mix: Tensor,
    stat: Tensor,
    moments: Tensor,
    interleaved: bool,
) -> _Backward:
    return (
        torch.empty_like(_with_rows(y)),
        torch.empty_like(weight, memory_format=torch.contiguous_format),
        torch.empty_like(scale),
        torch.empty_like(shift),
        torch.empty_like(mix, memory_format=torch.contiguous_format),
    )


@kernel_operator("spanetv2::grouped_mix_backward", like=_backward_like)
def _backward(
    grad: Tensor,
    y: Tensor,
    weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    mix: Tensor,
    stat: Tensor,
    moments: Tensor,
    interleaved: bool,
) -> _Backward:
    """Gradients of the first five arguments of ``_forward``; grad (B, N, C)."""
    images, channels, tokens = y.shape[0], int(y.shape[1]), int(y.shape[2])
    if not y.numel():
        return tuple(torch.zeros_like(value) for value in (y, weight, scale, shift, mix))  # pyright: ignore[reportReturnType]
    y, weight = _with_rows(y), weight.contiguous()
    place = _place(y, interleaved)
    groups = place["G"]
    grad_LC = grad.reshape(images * tokens, grad.shape[2])
    grad_z_DL = torch.mm(mix.t(), grad_LC.t())
    z_DL = torch.empty_like(grad_z_DL)

    settings = _settings("gradient_sums", y)
    chunk = min(_CHUNK, tokens)
    chunks, blocks = triton.cdiv(tokens, chunk), triton.cdiv(groups, settings["GB"])
    shares = min(images * chunks, triton.cdiv(_PROGRAMS, blocks))
    exact = {"dtype": torch.float32, "device": y.device}
    means = torch.empty(images * chunks, blocks, 2, **exact)
    sums = torch.empty(shares, 6, 2 * channels, **exact)
    wrap_triton(gradient_sums)[(blocks, shares)](
        y,
        grad_z_DL,
        weight,
        scale,
        shift,
        stat,
        z_DL,
        means,
        sums,
        images,
        CHUNK=chunk,
        CHUNKS=chunks,
        **place,
        **settings,
    )
    grad_y = torch.empty_like(y)
    mean_grads = torch.empty(images, 2, **exact)
    settings = _settings("gradient_of_map", y)
    grid = (triton.cdiv(tokens, settings["BN"]), triton.cdiv(groups, settings["GB"]), images)
    wrap_triton(gradient_of_map)[grid](
        y,
        grad_z_DL,
        weight,
        scale,
        shift,
        stat,
        means,
        mean_grads,
        grad_y,
        images,
        PARTS=chunks * blocks,
        PADDED=triton.next_power_of_2(chunks * blocks),
        grad_b=grad_y.stride(0),
        grad_c=grad_y.stride(1),
        **place,
        **settings,
    )
    grad_shift, grad_scale, *inward = sums.sum(0)
    grad_weight = _grad_of_weight(
        torch.stack(inward, 1) * scale.float()[:, None], weight.float(), stat, mean_grads, moments
    )
    return (
        grad_y,
        grad_weight.to(weight.dtype),
        grad_scale.to(scale.dtype, copy=True),  # outputs may share no memory
        grad_shift.to(shift.dtype, copy=True),
        torch.mm(grad_LC.t(), z_DL.t()),
    )


def _grad_of_weight(
    inward_DI: Tensor, weight_DI: Tensor, stat_B2: Tensor, mean_grads_B2: Tensor, moments: Tensor
) -> Tensor:
    """What GroupNorm takes off the gradient is linear in the map, so its moments are enough.

    The gradient of an expanded row e is ``(scale d - m1 - x m2) / std`` with x = (e - mean) / std;
    its product with an input y_i is summed over tokens and images.
    """
    mean_B, rstd_B = stat_B2.unbind(1)
    m1_B, m2_B = mean_grads_B2.unbind(1)
    squared_B = rstd_B.square() * m2_B
    moments_BMG = moments.sum(1)
    of_sums_IG = ((rstd_B * m1_B - squared_B * mean_B)[:, None, None] * moments_BMG[:, :4]).sum(0)
    of_products_MG = (squared_B[:, None, None] * moments_BMG[:, 4:]).sum(0)
    # Rows 0, 1, 2, 3 of the symmetric (4, 4) matrix, by place among its ten values.
    order = [0, 1, 2, 3, 1, 4, 5, 6, 2, 5, 7, 8, 3, 6, 8, 9]
    products_GII = torch.stack([of_products_MG[i] for i in order], 1).unflatten(1, (HEADS, HEADS))
    weight_GOI = weight_DI.unflatten(0, (-1, 2 * HEADS))
    off_GOI = of_sums_IG.t()[:, None] + (weight_GOI[..., None] * products_GII[:, None]).sum(2)
    return inward_DI - off_GOI.flatten(0, 1)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: _Forward) -> None:
    ctx.save_for_backward(*inputs[:5], *output[1:])
    ctx.interleaved = inputs[5]
    ctx.mark_non_differentiable(*output[1:])


def _gradients(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Any, ...]:
    return (*_backward(grad, *ctx.saved_tensors, ctx.interleaved), None, None)


_register: Callable[..., Any] = _forward.register_autograd
_register(_gradients, setup_context=_keep)
