"""``local_mixing`` by Triton kernels, registered with PyTorch so that compilers launch them.

Importing this module needs Triton; running it needs a GPU, or Triton's interpreter.

Shape suffixes: B batch, C channels, H and W the grid in tokens, Q = W // 2 + 1, T = 9 taps; see
``matrices`` for those of the constants.
"""

from typing import Any

import torch
import triton
from torch import Tensor

from spanetv2.errors import UserError
from spanetv2.ops.heads import HEADS, LARGEST_KERNEL
from spanetv2.ops.kernel_operator import kernel_operator, wrap_triton
from spanetv2.ops.kernel_product import precision_of
from spanetv2.ops.local_mixing.choice import LARGEST_GRID
from spanetv2.ops.local_mixing.kernels import forward
from spanetv2.ops.local_mixing.kernels_backward import (
    backward_input,
    backward_rows,
    backward_spectrum,
)
from spanetv2.ops.local_mixing.matrices import (
    Prepared,
    Sizes,
    constants,
    prepare_from,
    scale_of,
)
from spanetv2.ops.local_mixing.settings import setting

__all__ = ["local_mixing", "local_mixing_prepared", "try_launches"]

_SHARES = 16
_SHARES_OF_ROWS = 4


def local_mixing(x_BCHW: Tensor, kernels_CTT: Tensor, bias_C: Tensor, gain_CHQ: Tensor) -> Tensor:
    """``local_mixing_reference`` in one pass over the memory, on tensor cores.

    Args:
        x_BCHW: feature maps, (B, C, H, W), bfloat16, float16 or float32, 1 to 64 tokens a side, C a
            multiple of 4. If the tokens of a map lie together they are read as they are.
        kernels_CTT: kernels, (C, 9, 9), as ``pack_kernels`` makes them. Taps beyond a head's
            kernel are no parameters: they must be zero, and their gradient is.
        bias_C: bias of the convolutions, (C,).
        gain_CHQ: gain of the spectral filter, (C, H, W // 2 + 1), float32.

    Returns:
        Tensor (B, C, H, W) in the dtype and the layout of ``x``; sums are float32.

    Raises:
        UserError: a grid that is too large, channels that four heads cannot share, or shapes that
            do not fit together.

    Source: SPANetV2, multi-scale local mixing and spectral re-scaling filter.
    """
    _check(x_BCHW, kernels_CTT, bias_C, gain_CHQ)
    height, width = x_BCHW.shape[2], x_BCHW.shape[3]
    known = constants(height, width, x_BCHW.dtype, x_BCHW.device)
    with torch.autocast(x_BCHW.device.type, enabled=False):
        return _local_mixing(x_BCHW, kernels_CTT, bias_C, gain_CHQ, *known)


def local_mixing_prepared(x_BCHW: Tensor, prepared: Prepared) -> Tensor:
    """``local_mixing`` with constant parameters; no gradients.

    Args:
        x_BCHW: feature maps, (B, C, H, W), as for ``local_mixing``.
        prepared: of ``prepare``, for the grid and the dtype of ``x``.
    """
    return _local_mixing_prepared(x_BCHW, *prepared)


def try_launches(
    height: int, width: int, dtype: torch.dtype, device: torch.device, *, training: bool
) -> None:
    """Launch the kernels of a grid on zeros, and raise what a card answers that refuses them."""
    channels = images = 16  # multiples of 16, so that most networks run the same programs
    x = torch.zeros(images, channels, height, width, dtype=dtype, device=device)
    kernels, bias = x.new_zeros(channels, 9, 9), x.new_zeros(channels)
    gain = torch.zeros(channels, height, width // 2 + 1, device=device)
    with torch.inference_mode(False), torch.no_grad():
        known = constants(height, width, dtype, device)
        local_mixing_prepared(x, prepare_from(kernels, bias, gain, *known))
        if training:
            _local_mixing_backward(x, x, kernels, bias, gain, *known)
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _check(x_BCHW: Tensor, kernels_CTT: Tensor, bias_C: Tensor, gain_CHQ: Tensor) -> None:
    channels, height, width = x_BCHW.shape[1:]
    if max(height, width) > LARGEST_GRID or min(height, width) < 1:
        raise UserError(
            f"got a grid of {height} x {width} tokens, expected 1 to {LARGEST_GRID} a side; "
            "use local_mixing_reference"
        )
    if channels % HEADS:
        raise UserError(f"got {channels} channels, expected a multiple of {HEADS}")
    wanted = [
        (channels, LARGEST_KERNEL, LARGEST_KERNEL),
        (channels,),
        (channels, height, width // 2 + 1),
    ]
    for name, tensor, shape in zip(
        ("kernels", "bias", "gain"), (kernels_CTT, bias_C, gain_CHQ), wanted, strict=True
    ):
        if tuple(tensor.shape) != shape:
            raise UserError(f"got {name} of shape {tuple(tensor.shape)}, expected {shape}")


def _tiles(x_BCHW: Tensor) -> tuple[dict[str, Any], Sizes]:
    height, width = x_BCHW.shape[2], x_BCHW.shape[3]
    size = Sizes.of(height, width)
    return {
        "H": height,
        "W": width,
        "HP": size.H,
        "WP": size.W,
        "KP": size.K,
        "HEADS": HEADS,
        # Tensor cores in three passes keep float32's accuracy; half precision takes one.
        "PRECISION": precision_of(x_BCHW.dtype),
    }, size


def _settings(kernel: str, x_BCHW: Tensor, size: Sizes) -> dict[str, int]:
    generation = torch.cuda.get_device_capability(x_BCHW.device)[0] if x_BCHW.is_cuda else 0
    chosen = setting(kernel, max(size.H, size.W), x_BCHW.element_size(), generation)
    return {
        "N": chosen.images,
        "KB": min(chosen.columns, size.K),
        "num_warps": chosen.warps,
        "num_stages": chosen.stages,
    }


def _run_forward(
    x: Tensor,
    rows: Tensor,
    gains: Tensor,
    shift: Tensor,
    row_waves: Tensor,
    column_waves: Tensor,
) -> Tensor:
    x = _with_rows(x)
    out = torch.empty_like(x)
    images, channels = x.shape[:2]
    if not x.numel():
        return out
    tiles, size = _tiles(x)
    chosen = _settings("forward", x, size)
    wrap_triton(forward)[(channels, triton.cdiv(images, chosen["N"]))](
        x,
        rows,
        gains,
        shift,
        row_waves,
        column_waves,
        out,
        *x.stride()[:2],
        *out.stride()[:2],
        images,
        channels,
        PP=size.P,
        **tiles,
        **chosen,
    )
    return out


def _with_rows(x_BCHW: Tensor) -> Tensor:
    """The maps themselves if the tokens of each lie together, or a copy where they do."""
    height, width = x_BCHW.shape[2:]
    together = (width == 1 or x_BCHW.stride(3) == 1) and (height == 1 or x_BCHW.stride(2) == width)
    return x_BCHW if together else x_BCHW.contiguous()


def _map_like(x: Tensor, *_: Tensor) -> Tensor:
    return torch.empty_like(_with_rows(x))


def _gradients_like(grad: Tensor, x: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return (_map_like(x), *(value.new_empty(value.shape) for value in inputs[:3]))


@kernel_operator("spanetv2::local_mixing_prepared", like=_map_like)
def _local_mixing_prepared(
    x: Tensor,
    rows: Tensor,
    gains: Tensor,
    shift: Tensor,
    row_waves: Tensor,
    column_waves: Tensor,
) -> Tensor:
    return _run_forward(x, rows, gains, shift, row_waves, column_waves)


@kernel_operator("spanetv2::local_mixing", like=_map_like)
def _local_mixing(
    x: Tensor,
    taps: Tensor,
    bias: Tensor,
    gain: Tensor,
    shifts: Tensor,
    fold: Tensor,
    row_waves: Tensor,
    column_waves: Tensor,
) -> Tensor:
    return _run_forward(x, *prepare_from(taps, bias, gain, shifts, fold, row_waves, column_waves))


@kernel_operator("spanetv2::local_mixing_backward", like=_gradients_like)
def _local_mixing_backward(
    grad: Tensor,
    x: Tensor,
    taps: Tensor,
    bias: Tensor,
    gain: Tensor,
    shifts: Tensor,
    fold: Tensor,
    row_waves: Tensor,
    column_waves: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, grad = _with_rows(x), _with_rows(grad)
    images, channels, height, _ = x.shape
    if not x.numel():
        return (
            torch.empty_like(x),
            torch.zeros_like(taps),
            torch.zeros_like(bias),
            torch.zeros_like(gain),
        )
    tiles, size = _tiles(x)
    rows, gains, *_ = prepare_from(taps, bias, gain, shifts, fold, row_waves, column_waves)
    grad_z = torch.empty(images, channels, height, size.K, dtype=x.dtype, device=x.device)
    exact = {"dtype": torch.float32, "device": x.device}
    unscale = scale_of(x.dtype) ** -2

    chosen = _settings("backward_spectrum", x, size)
    shares = _shares(images, chosen["N"], _SHARES)
    grad_gains = torch.empty(shares, *gains.shape, **exact)
    grad_shift = torch.empty(shares, channels, **exact)
    wrap_triton(backward_spectrum)[(channels, shares, size.K // chosen["KB"])](
        x,
        grad,
        rows,
        gains,
        row_waves,
        column_waves,
        grad_z,
        grad_gains,
        grad_shift,
        *x.stride()[:2],
        *grad.stride()[:2],
        images,
        channels,
        PP=size.P,
        UNSCALE=unscale,
        **tiles,
        **chosen,
    )
    chosen = _settings("backward_input", x, size)
    grad_x = torch.empty_like(x)
    wrap_triton(backward_input)[(channels, triton.cdiv(images, chosen["N"]))](
        grad_z,
        rows,
        grad_x,
        *grad_x.stride()[:2],
        images,
        channels,
        UNSCALE=unscale,
        **tiles,
        **chosen,
    )
    chosen = _settings("backward_rows", x, size)
    shares = _shares(images, chosen["N"], _SHARES_OF_ROWS)
    grad_rows = torch.empty(shares, *rows.shape, **exact)
    parts = size.K // chosen["KB"]
    wrap_triton(backward_rows)[(channels, LARGEST_KERNEL * parts, shares)](
        x, grad_z, grad_rows, *x.stride()[:2], images, channels, **tiles, **chosen
    )

    used = _used_taps(channels, x.device)
    # The sums are those of scaled rows, and ``shifts`` has the scale once.
    grad_taps = torch.matmul(grad_rows.sum(0), shifts.t()) * (used * unscale)
    shift_sum = grad_shift.sum(0)
    grad_gain = torch.matmul(fold.t(), grad_gains.sum(0))
    at_zero = torch.zeros_like(grad_gain)
    at_zero[:, 0, 0] = bias.float() * shift_sum
    return (
        grad_x,
        grad_taps.to(taps.dtype),
        (gain[:, 0, 0].float() * shift_sum).to(bias.dtype),
        (grad_gain + at_zero).to(gain.dtype),
    )


def _shares(images: int, per_program: int, most: int) -> int:
    blocks = triton.cdiv(images, per_program)
    return min(most, blocks) if isinstance(blocks, int) else most


def _used_taps(channels: int, device: torch.device) -> Tensor:
    """Ones where a head's kernel has taps, (C, T, T)."""
    reach = 1 + torch.arange(channels, device=device) // (channels // HEADS)
    distance = (torch.arange(LARGEST_KERNEL, device=device) - LARGEST_KERNEL // 2).abs()
    farthest = torch.maximum(distance[:, None], distance[None, :])
    return (farthest <= reach[:, None, None]).float()


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (*_local_mixing_backward(grad, *ctx.saved_tensors), None, None, None, None)


_local_mixing.register_autograd(_backward, setup_context=_keep)
