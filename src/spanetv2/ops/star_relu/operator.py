"""``star_relu``: the registered operator that launches the kernels.

Only its input is kept for the backward pass. Sums are float32 and deterministic.
"""

# Triton's annotations are for its compiler.
# pyright: reportArgumentType=false

from typing import Any

import torch
import triton
from torch import Tensor

from spanetv2.ops.kernel_operator import kernel_operator, wrap_triton
from spanetv2.ops.star_relu.kernels import backward, forward

__all__ = ["star_relu", "try_launches"]

_BLOCK = 1024
_TURNS = 8


def star_relu(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """``scale * relu(x)^2 + bias`` in the dtype of ``x``.

    Args:
        x: bfloat16, float16 or float32, any shape and layout.
        scale: one value, (1,).
        bias: one value, (1,).

    Returns:
        A contiguous tensor of the shape of ``x``.

    Source: MetaFormer baselines for vision, StarReLU.
    """
    return _forward(x, scale, bias)


def try_launches(dtype: torch.dtype, device: torch.device) -> None:
    """Launch the kernels on zeros, and raise what a card answers that refuses them."""
    with torch.inference_mode(False), torch.enable_grad():
        x = torch.zeros(_BLOCK, dtype=dtype, device=device, requires_grad=True)
        star_relu(x, x.detach()[:1], x.detach()[:1]).sum().backward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _forward_like(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@kernel_operator("spanetv2::star_relu", like=_forward_like)
def _forward(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    out = x.new_empty(x.shape)
    count = x.numel()
    if count:
        grid = (triton.cdiv(count, _BLOCK),)
        wrap_triton(forward)[grid](x.contiguous(), scale, bias, out, count, BLOCK=_BLOCK)
    return out


def _backward_like(grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    return x.new_empty(x.shape), x.new_empty(2, dtype=torch.float32)


@kernel_operator("spanetv2::star_relu_backward", like=_backward_like)
def _backward(grad: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of x, and those of scale and bias in one tensor."""
    grad_x = x.new_empty(x.shape)
    count = x.numel()
    if not count:
        return grad_x, x.new_zeros(2, dtype=torch.float32)
    programs = triton.cdiv(count, _TURNS * _BLOCK)
    sums = x.new_empty(programs, 2, dtype=torch.float32)
    wrap_triton(backward)[(programs,)](
        x.contiguous(), grad.contiguous(), scale, grad_x, sums, count, TURNS=_TURNS, BLOCK=_BLOCK
    )
    return grad_x, sums.sum(0)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    x, scale, bias = inputs
    ctx.save_for_backward(x, scale)
    ctx.kind = bias.dtype


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    x, scale = ctx.saved_tensors
    grad_x, sums = _backward(grad, x, scale)
    return grad_x, sums[:1].to(scale.dtype), sums[1:].to(ctx.kind)


_forward.register_autograd(_gradients, setup_context=_keep)
