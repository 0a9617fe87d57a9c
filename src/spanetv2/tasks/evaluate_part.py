"""Measuring a part of a data set into rows, and putting rows together."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.utils.data import IterableDataset

from spanetv2.data.images import Failure
from spanetv2.errors import UserError
from spanetv2.tasks.evaluation import Evaluation, EvaluationPass, Measuring, run_evaluation
from spanetv2.tasks.joining import Joined
from spanetv2.tasks.shard import Part
from spanetv2.tasks.task import Task

__all__ = ["conclude_rows", "measure_part"]

_FAILURES = 1000
_SHORT = 16
"""Digits of the data's digest that every line has."""


def measure_part(
    opened: Measuring,
    part: Part,
    *,
    device: torch.device,
    progress: bool = False,
    tell: Callable[[int], None] = lambda images: None,
) -> None:
    """Measure the batches of a part that are still to be measured, and write its rows.

    Args:
        opened: model and data; the loader gives the part's batches, of a stream all.
        part: takes the rows.
        device: where to compute.
        progress: show a bar.
        tell: told the images of each batch.

    Raises:
        UserError: the rows that are there are of other data.
    """
    listing = opened.listing()
    streamed = isinstance(opened.source, IterableDataset)
    if part.done and part.files(part.shard.number - 1) != listing[:_SHORT]:
        raise UserError(
            f"the data are others than those of the run in {part.folder}"
            + (", or a stream is read by another number of --workers" if streamed else "")
            + "; choose another folder with --out, or --overwrite to begin anew"
        )
    seen = itertools.count()
    numbers = (number for number in itertools.count() if part.takes(number))

    def wanted() -> Iterator[Any]:
        """A stream is read whole, and most of it passed over."""
        return (batch for batch in opened.loader if part.takes(next(seen)))

    def measured(images: int, failures: list[Failure], seconds: float) -> None:
        part.write(
            next(numbers),
            {
                "files": listing[:_SHORT],
                "images": images,
                "failures": failures,
                "seconds": seconds,
                "rows": opened.meter.rows(),
            },
        )
        tell(images + len(failures))

    loader: Iterable[Any] = wanted() if streamed else opened.loader
    run_evaluation(
        opened.model, loader, opened.measure, device=device, progress=progress, measured=measured
    )
    batches = next(seen) if streamed else -(-len(opened.source) // opened.batch_size)
    about = {"batches": batches, "listing": listing}
    part.end({**about, **opened.frame, **opened.late()})


def conclude_rows(task: Task, joined: Joined) -> Evaluation:
    """The figures of all rows of a run.

    Args:
        task: the run's.
        joined: all parts.

    Raises:
        UserError: nothing was measured, or an output is not finite.
    """
    meter = task.meter(joined.facts)
    failures: list[Failure] = []
    failed, seconds = 0, 0.0
    for line, _ in joined.rows():
        meter.add(line["rows"])
        failed += len(line["failures"])
        failures += [Failure(*row) for row in line["failures"]][: _FAILURES - len(failures)]
        seconds += line["seconds"]
    done = EvaluationPass(seconds=seconds, failures=failures, failed=failed)
    return task.conclude(meter, done, joined.facts)
