"""``depthwise_heads``: the four heads' convolutions as products with band matrices.

Shape suffixes: B batch, C channels, H and W the grid in tokens, T = 9 taps, K the window and J the
piece of the kernels' band matrices.
"""

# Triton's annotations are for its compiler.
# pyright: reportArgumentType=false

import math
from typing import Any

import torch
import triton
from torch import Tensor

from spanetv2.ops.depthwise.kernels import PIECE, WINDOW, convolve, gradient_of_bands
from spanetv2.ops.heads import HEADS, LARGEST_KERNEL
from spanetv2.ops.kernel_operator import kernel_operator, wrap_triton
from spanetv2.ops.kernel_product import precision_of

__all__ = ["depthwise_heads", "try_launches"]

_SHARES = 8
"""Of the images, for the gradient of the taps."""


def depthwise_heads(x_BCHW: Tensor, kernels_CTT: Tensor, bias_C: Tensor) -> Tensor:
    """Depthwise convolution with zero padding, head i with 3 + 2i taps a side.

    Args:
        x_BCHW: feature maps, (B, C, H, W), bfloat16, float16 or float32, C a multiple of 4. Best
            contiguous.
        kernels_CTT: kernels, (C, 9, 9), as ``pack_kernels`` makes them; cast to the dtype of the
            map. Taps beyond a head's kernel are no parameters: they must be zero, and so is
            their gradient.
        bias_C: bias, (C,).

    Returns:
        Tensor (B, C, H, W), contiguous, in the dtype of the map; sums are float32, and
        deterministic.

    Source: SPANetV2, multi-scale local mixing.
    """
    return _forward(x_BCHW, kernels_CTT, bias_C)


def try_launches(
    height: int, width: int, dtype: torch.dtype, device: torch.device, *, training: bool
) -> None:
    """Launch the kernels of a grid on zeros, and raise what a card answers that refuses them."""
    with (
        torch.inference_mode(False),
        torch.set_grad_enabled(training),
        torch.autocast(device.type, enabled=False),
    ):
        x = torch.zeros(1, 16, height, width, dtype=dtype, device=device, requires_grad=training)
        kernels, bias = (torch.zeros(*shape, device=device) for shape in ((16, 9, 9), (16,)))
        out = depthwise_heads(x, kernels, bias)
        if training:
            out.sum().backward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _settings(x: Tensor, pieces: int) -> dict[str, Any]:
    height, width = int(x.shape[2]), int(x.shape[3])  # symbolic sizes end here
    return {
        "H": height,
        "W": width,
        "VEC": math.gcd(8, width),
        "PRECISION": precision_of(x.dtype),
        "BM": min(pieces, max(32, triton.next_power_of_2(height * triton.cdiv(width, PIECE)))),
        "num_warps": 4,
    }


def _shift(device: torch.device) -> tuple[Tensor, Tensor]:
    """Which tap stands at (K, J) of a band matrix, and whether one does."""
    window, piece = torch.arange(WINDOW, device=device), torch.arange(PIECE, device=device)
    tap = window[:, None] - 8 - piece + LARGEST_KERNEL // 2
    return tap.clamp(0, LARGEST_KERNEL - 1), (tap >= 0) & (tap < LARGEST_KERNEL)


def _bands(taps: Tensor, dtype: torch.dtype) -> Tensor:
    tap_KJ, known_KJ = _shift(taps.device)
    bands = taps.to(dtype)[..., tap_KJ]
    return torch.where(known_KJ, bands, torch.zeros_like(bands)).contiguous()


def _convolve(x: Tensor, taps: Tensor, bias: Tensor | None) -> Tensor:
    images, channels = x.shape[:2]
    out = torch.empty_like(x)
    if not x.numel():
        return out
    settings = _settings(x, 128)
    pieces = settings["H"] * triton.cdiv(settings["W"], PIECE)
    grid = (triton.cdiv(pieces, settings["BM"]), channels, images)
    wrap_triton(convolve)[grid](
        x,
        _bands(taps, x.dtype),
        x if bias is None else bias,
        out,
        channels,
        channels // HEADS,
        HAS_BIAS=bias is not None,
        **settings,
    )
    return out


def _forward_like(x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@kernel_operator("spanetv2::depthwise_heads", like=_forward_like)
def _forward(x: Tensor, taps: Tensor, bias: Tensor) -> Tensor:
    return _convolve(x.contiguous(), taps, bias)


def _backward_like(grad: Tensor, x: Tensor, taps: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), taps.new_empty(taps.shape)


@kernel_operator("spanetv2::depthwise_heads_backward", like=_backward_like)
def _backward(grad: Tensor, x: Tensor, taps: Tensor) -> tuple[Tensor, Tensor]:
    x, grad = x.contiguous(), grad.contiguous()
    images, channels = x.shape[:2]
    grad_x = _convolve(grad, taps.flip(1, 2), None)
    if not x.numel():
        return grad_x, torch.zeros_like(taps)
    shares = min(images, _SHARES)
    sums = torch.empty(
        *(shares, channels, LARGEST_KERNEL, WINDOW, PIECE),
        dtype=torch.float32,
        device=x.device,
    )
    wrap_triton(gradient_of_bands)[(channels, LARGEST_KERNEL, shares)](
        x, grad, sums, images, channels, channels // HEADS, **_settings(x, 64)
    )
    # A tap stands in every column of the band once.
    piece = torch.arange(PIECE, device=x.device)
    tap = torch.arange(LARGEST_KERNEL, device=x.device)
    row = tap[:, None] + 8 - LARGEST_KERNEL // 2 + piece
    grad_taps = sums.sum(0)[..., row, piece.expand_as(row)].sum(-1)
    return grad_x, (grad_taps * _used(channels, x.device)).to(taps.dtype)


def _used(channels: int, device: torch.device) -> Tensor:
    """Ones in the columns of a head's kernel, (C, 1, T)."""
    reach = 1 + torch.arange(channels, device=device) // (channels // HEADS)
    distance = (torch.arange(LARGEST_KERNEL, device=device) - LARGEST_KERNEL // 2).abs()
    return (distance <= reach[:, None]).float()[:, None]


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    x, taps, bias = inputs
    ctx.save_for_backward(x, taps)
    ctx.kind = bias.dtype


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
    return (
        *_backward(grad, *ctx.saved_tensors),
        grad.sum((0, 2, 3), dtype=torch.float32).to(ctx.kind),
    )


_forward.register_autograd(_gradients, setup_context=_keep)
