"""Throughput of the rows, measured in turns: every round runs each of them once."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spanetv2.benchmark.timing import Step, interleave
from spanetv2.evidence.matching import match_widths
from spanetv2.evidence.plan import Plan
from spanetv2.evidence.rows import find_row
from spanetv2.models.factory import create_model

__all__ = ["measure_speed"]


def measure_speed(
    plan: Plan,
    *,
    rounds: int = 15,
    warmup: int = 2,
    device: str = "cpu",
    progress: Callable[[], Any] = lambda: None,
) -> list[dict[str, Any]]:
    """Time inference and training passes of every row of a plan.

    A training pass is forward, backward and no optimiser. Batch and image size are the recipe's,
    weights random.

    Args:
        plan: whose rows and skeleton.
        rounds: timings of each.
        warmup: passes of each before the first round.
        device: where.
        progress: called after every pass.

    Returns:
        One record per row, pass and round, with its seconds and the batch size; passes of the same
        round can be compared.
    """
    before = torch.get_num_threads()
    if device == "cpu":
        torch.set_num_threads(plan.threads)
    records = []
    try:
        for work in ("inference", "training"):
            steps = {name: _step(plan, name, work, device) for name in plan.rows}
            times = interleave(
                steps, rounds=rounds, warmup=warmup, device=device, progress=progress
            )
            records += [
                {
                    "row": name,
                    "seed": 0,
                    "pass": work,
                    "round": number,
                    "batch": plan.recipe["data"]["total_batch"],
                    "seconds": seconds,
                }
                for name, measured in times.items()
                for number, seconds in enumerate(measured)
            ]
    finally:
        torch.set_num_threads(before)
    return records


def _step(plan: Plan, name: str, work: str, device: str) -> Step:
    torch.manual_seed(0)
    row, skeleton = find_row(name), plan.skeleton
    channels, *size = skeleton.image
    model = create_model(
        "pico_pure",
        num_classes=skeleton.num_classes,
        in_chans=channels,
        img_size=(size[0], size[1]),
        stem_stride=skeleton.stem_stride,
        head_order=row.head_order,
        gate=row.gate,
        depths=skeleton.depths,
        dims=match_widths(row, skeleton),
        mixers=row.mixers,
    ).to(device)
    batch = plan.recipe["data"]["total_batch"]
    images = torch.randn(batch, *skeleton.image, device=device)
    targets = torch.zeros(batch, dtype=torch.int64, device=device)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    if work == "inference":
        model.eval()

        def infer() -> Tensor:
            with torch.inference_mode():
                return model(images)

        return Step(run=infer, tidy=lambda: None, parameters=parameters)

    def learn() -> None:
        F.cross_entropy(model(images), targets).backward()

    def tidy() -> None:
        model.zero_grad(set_to_none=True)

    return Step(run=learn, tidy=tidy, parameters=parameters)
