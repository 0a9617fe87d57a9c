"""What of ``depthwise`` is compiled for GPUs that are not here; see ``compile_report``."""

from collections.abc import Iterator

import torch

from spanetv2.ops.depthwise.operator import depthwise_heads


def cases() -> Iterator[tuple]:
    for grid, dtype in (
        ((96, 96), torch.bfloat16),
        ((128, 128), torch.float16),
        ((200, 320), torch.bfloat16),
        ((128, 128), torch.float32),
    ):
        inputs = (torch.empty(2, 64, *grid, dtype=dtype), torch.empty(64, 9, 9), torch.empty(64))
        title = f"{grid[0]} x {grid[1]}, {dtype}"
        yield title, depthwise_heads, [value.requires_grad_() for value in inputs]
