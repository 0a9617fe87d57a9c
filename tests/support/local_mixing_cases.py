"""What of ``local_mixing`` is compiled for GPUs that are not here; see ``compile_report``."""

from collections.abc import Iterator

import torch

from spanetv2.ops.local_mixing.matrices import prepare
from spanetv2.ops.local_mixing.operator import local_mixing, local_mixing_prepared

STAGES = {56: 64, 28: 128, 14: 320, 7: 512}
"""Channels at the grids of 224 pixels."""


def _inputs(side: int, dtype: torch.dtype, images: int = 128) -> list[torch.Tensor]:
    channels = STAGES[side]
    return [
        torch.empty(images, channels, side, side, dtype=dtype),
        torch.empty(channels, 9, 9),
        torch.empty(channels),
        torch.empty(channels, side, side // 2 + 1),
    ]


def _prepared(x: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
    return local_mixing_prepared(x, prepare(*others, (x.shape[2], x.shape[3]), x.dtype))


def cases() -> Iterator[tuple]:
    half = [(side, torch.bfloat16) for side in STAGES]
    for side, dtype in [*half, (28, torch.float32)]:
        inputs = [value.requires_grad_() for value in _inputs(side, dtype)]
        yield f"{side} x {side}, {dtype}", local_mixing, inputs
    # In float32 the way back from the largest grids needs more registers than there are.
    yield "56 x 56, torch.float32", _prepared, _inputs(56, torch.float32)
