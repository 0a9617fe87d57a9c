"""Images a second of the trainer, per row."""

import time

import torch

from studies.evidence.part import Context
from studies.evidence.store import Record
from studies.evidence.train import train

__all__ = ["measure_throughput"]


def measure_throughput(
    context: Context, seeds: tuple[int, ...], *, updates: int, warmup: int
) -> list[Record]:
    """Time updates of every row: augmentation, forward, backward, optimiser, all seeds at once.

    Args:
        context: scale and device.
        seeds: networks of a row.
        updates: that are timed.
        warmup: that are not: compiling and first allocations.

    Returns:
        A record per row: images per second over all seeds, and seconds for the scale's whole run.
    """
    scale, records = context.scale, []
    for row in scale.rows:
        recipe = context.recipe(row)
        timed = context.recipe(row, updates=warmup + updates)
        images = context.load(scale.data).to(context.device)
        stack = context.stack(context.network(row, scale.skeleton), seeds)
        marks: list[float] = []

        def mark(update: int, _: object, marks: list[float] = marks) -> None:
            if update >= warmup:
                if context.device == "cuda":
                    torch.cuda.synchronize()
                marks.append(time.perf_counter())

        train(stack, images, timed, watch=mark, every=1)
        seconds = (marks[-1] - marks[0]) / updates
        records.append(
            {
                "row": row,
                "seeds": len(seeds),
                "batch": recipe.batch,
                "images_per_second": len(seeds) * recipe.batch / seconds,
                "seconds_for_whole": seconds * recipe.updates,
            }
        )
    return records
