"""``multiscale_spectral``: the registered operator that runs the Triton kernels.

Registered with PyTorch (fake, autograd), so that ``torch.compile`` and ``torch.export`` see one
operator. Importing this module needs Triton; running it needs a GPU, or Triton's interpreter
(``TRITON_INTERPRET=1`` in the environment before Triton is first imported).

Shape suffixes: B batch, C channels, H and W the grid in tokens, K = W // 2 + 1, T = 9 taps, S
shares of the batch.
"""

# Triton's annotations are for its compiler.
# pyright: reportArgumentType=false

from functools import lru_cache
from typing import Any

import torch
import triton
from torch import Tensor

from spanetv2.errors import UserError
from spanetv2.ops.fourier import column_multiplicity, waves
from spanetv2.ops.heads import HEADS, LARGEST_KERNEL
from spanetv2.ops.multiscale_spectral import kernels
from spanetv2.ops.multiscale_spectral.choice import LARGEST_GRID

__all__ = ["multiscale_spectral"]

_SHARES = 32
_Tables = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def multiscale_spectral(
    x_BCHW: Tensor, kernels_CTT: Tensor, bias_C: Tensor, gain_CHK: Tensor
) -> Tensor:
    """``multiscale_spectral_reference`` in one pass over the memory, forward and backward.

    Args:
        x_BCHW: feature maps, (B, C, H, W), bfloat16, float16 or float32, at most 64 tokens a side,
            C a multiple of 4.
        kernels_CTT: kernels, (C, 9, 9), as ``pack_kernels`` makes them.
        bias_C: bias of the convolutions, (C,).
        gain_CHK: gain of the spectral filter, (C, H, W // 2 + 1), float32.

    Returns:
        Tensor (B, C, H, W) in the dtype of ``x``; sums are float32.

    Raises:
        UserError: a grid that is too large, channels that four heads cannot share, or shapes that
            do not fit together.

    Source: SPANetV2, multi-scale local mixing and spectral re-scaling filter.
    """
    channels, height, width = x_BCHW.shape[1:]
    if max(height, width) > LARGEST_GRID or min(height, width) < 1:
        raise UserError(
            f"got a grid of {height} x {width} tokens, expected 1 to {LARGEST_GRID} a side; "
            "use multiscale_spectral_reference"
        )
    if channels % HEADS:
        raise UserError(f"got {channels} channels, expected a multiple of {HEADS}")
    wanted = [
        (channels, LARGEST_KERNEL, LARGEST_KERNEL),
        (channels,),
        (channels, height, width // 2 + 1),
    ]
    for name, tensor, shape in zip(
        ("kernels", "bias", "gain"), (kernels_CTT, bias_C, gain_CHK), wanted, strict=True
    ):
        if tuple(tensor.shape) != shape:
            raise UserError(f"got {name} of shape {tuple(tensor.shape)}, expected {shape}")
    return _operator(x_BCHW, kernels_CTT, bias_C, gain_CHK.float())


def _padded(size: int) -> int:
    return max(16, triton.next_power_of_2(size))


def _padded_waves(length: int, count: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """``waves`` (tokens down, frequencies across), in zeros of (rows, columns)."""
    cos, sin = torch.zeros(rows, columns), torch.zeros(rows, columns)
    exact_cos, exact_sin = waves(length, count, torch.float64, torch.device("cpu"))
    cos[:length, :count], sin[:length, :count] = exact_cos.t(), exact_sin.t()
    return cos, sin


def _make_tables(height: int, width: int) -> _Tables:
    half = width // 2 + 1
    hp, wp, kp = _padded(height), _padded(width), _padded(half)
    cos_w, sin_w = _padded_waves(width, half, wp, kp)
    cos_h, sin_h = _padded_waves(height, height, hp, hp)
    times = column_multiplicity(kp, width)[:, None]
    return (cos_w, sin_w, times * cos_w.t(), times * sin_w.t(), cos_h, sin_h)


@lru_cache(maxsize=64)
def _tables_on(height: int, width: int, device: torch.device) -> _Tables:
    made = [table.contiguous().to(device) for table in _make_tables(height, width)]
    return (made[0], made[1], made[2], made[3], made[4], made[5])


def _settings(x_BCHW: Tensor) -> dict[str, Any]:
    height, width = x_BCHW.shape[2:]
    half = width // 2 + 1
    return {
        "H": height,
        "W": width,
        "K": half,
        "HP": _padded(height),
        "WP": _padded(width),
        "KP": _padded(half),
        "T": LARGEST_KERNEL,
        "HEADS": HEADS,
        # Tensor cores in three passes keep float32's accuracy; one pass has bfloat16's to spare.
        "PRECISION": "tf32x3" if x_BCHW.dtype == torch.float32 else "tf32",
        "num_warps": 8 if max(height, width) > 32 else 4 if max(height, width) > 16 else 1,
    }


@torch.library.custom_op("spanetv2::multiscale_spectral", mutates_args=())
def _operator(x: Tensor, taps: Tensor, bias: Tensor, gain: Tensor) -> Tensor:
    x = x.contiguous()
    out = torch.empty_like(x)
    images, channels, height, width = x.shape
    if x.numel():
        kernels.forward[(channels, images)](
            x,
            taps.contiguous(),
            bias.contiguous(),
            gain.contiguous(),
            *_tables_on(height, width, x.device),
            out,
            channels,
            **_settings(x),
        )
    return out


@_operator.register_fake
def _(x: Tensor, taps: Tensor, bias: Tensor, gain: Tensor) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.custom_op("spanetv2::multiscale_spectral_backward", mutates_args=())
def _backward_operator(
    grad: Tensor, x: Tensor, taps: Tensor, bias: Tensor, gain: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grad, x, taps = grad.contiguous(), x.contiguous(), taps.contiguous()
    images, channels, height, width = x.shape
    shares = max(1, min(images, _SHARES))
    grad_x, grad_y = torch.empty_like(x), torch.empty_like(x, dtype=torch.float32)
    exact = {"dtype": torch.float32, "device": x.device}
    grad_gain = torch.zeros(shares, *gain.shape, **exact)
    grad_bias = torch.zeros(shares, channels, **exact)
    grad_taps = torch.zeros(shares, *taps.shape, **exact)
    settings = _settings(x)
    if x.numel():
        kernels.filter_backward[(channels, shares)](
            x,
            taps,
            bias.contiguous(),
            gain.contiguous(),
            *_tables_on(height, width, x.device),
            grad,
            grad_y,
            grad_gain,
            grad_bias,
            images,
            channels,
            **settings,
        )
        for name in ("K", "KP", "PRECISION"):
            del settings[name]
        kernels.taps_backward[(channels, shares)](
            x,
            taps,
            grad_y,
            grad_x,
            grad_taps,
            images,
            channels,
            TP=triton.next_power_of_2(LARGEST_KERNEL**2),
            **settings,
        )
    return (
        grad_x,
        grad_taps.sum(0).to(taps.dtype),
        grad_bias.sum(0).to(bias.dtype),
        grad_gain.sum(0).to(gain.dtype),
    )


@_backward_operator.register_fake
def _(
    grad: Tensor, x: Tensor, taps: Tensor, bias: Tensor, gain: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return (
        x.new_empty(x.shape),
        taps.new_empty(taps.shape),
        bias.new_empty(bias.shape),
        gain.new_empty(gain.shape),
    )


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _backward_operator(grad, *ctx.saved_tensors)


_operator.register_autograd(_backward, setup_context=_keep)
