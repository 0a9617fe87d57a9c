"""Throughput of the rows, measured in turns: every round runs each of them once."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

from spanetv2.benchmark.networks import inference_step, training_step
from spanetv2.benchmark.timing import Step, interleave, threads
from studies.mixers.matching import build, match_widths
from studies.mixers.plan import Plan
from studies.mixers.rows import find_row

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
    records = []
    with threads(plan.threads if device == "cpu" else None):
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
    return records


def _step(plan: Plan, name: str, work: str, device: str) -> Step:
    torch.manual_seed(0)
    row, skeleton, training = find_row(name), plan.skeleton, work == "training"
    model = build(row, skeleton, match_widths(row, skeleton), device).train(training)
    batch = plan.recipe["data"]["total_batch"]
    images = torch.randn(batch, *skeleton.image, device=device)
    targets = torch.zeros(batch, dtype=torch.int64, device=device)
    if training:
        return training_step(model, lambda: F.cross_entropy(model(images), targets))
    return inference_step(model, images)
