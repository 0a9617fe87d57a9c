"""What of ``star_relu`` is compiled for GPUs that are not here; see ``compile_report``."""

from collections.abc import Iterator

import torch

from spanetv2.ops.star_relu.operator import star_relu


def cases() -> Iterator[tuple]:
    for dtype in (torch.bfloat16, torch.float32):
        inputs = (torch.empty(128, 196, 1280, dtype=dtype), torch.empty(1), torch.empty(1))
        yield f"{dtype}", star_relu, [value.requires_grad_() for value in inputs]
