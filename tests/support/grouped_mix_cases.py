"""What of ``grouped_mix`` is compiled for GPUs that are not here; see ``compile_report``."""

from collections.abc import Iterator

import torch

from spanetv2.ops.grouped_mix.operator import grouped_mix_fused

STAGES = {56: 64, 28: 128, 14: 320, 7: 512}
"""Channels at the grids of 224 pixels."""


def _function(*inputs: torch.Tensor) -> torch.Tensor:
    return grouped_mix_fused(*inputs, True, 1e-5)


def cases() -> Iterator[tuple]:
    half = [(side, channels, torch.bfloat16) for side, channels in STAGES.items()]
    for side, channels, dtype in [*half, (56, 64, torch.float32), (128, 64, torch.float16)]:
        inputs = (
            torch.empty(16, channels, side, side, dtype=dtype),
            torch.empty(2 * channels, 4, 1, 1),
            torch.empty(2 * channels),
            torch.empty(2 * channels),
            torch.empty(channels, 2 * channels, 1, 1),
        )
        yield f"{side} x {side}, {dtype}", _function, [value.requires_grad_() for value in inputs]
