"""``spanetv2 evaluate``: measure a checkpoint on a data set."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spanetv2.cli.messages import messages_on_stderr
from spanetv2.cli.options import (
    CHECKPOINT,
    DEVICE,
    DTYPE,
    OVERWRITE,
    RESUME,
    SHARD,
    WORKERS,
    default_of,
    own_options,
    with_task_options,
)
from spanetv2.cli.progress import Progress
from spanetv2.many.ranks import ranks_of
from spanetv2.tasks import all_tasks, find_task

if TYPE_CHECKING:
    from spanetv2.tasks.evaluation import Evaluation

__all__ = ["evaluate_command", "print_evaluation"]


def evaluate_command() -> Callable[..., None]:
    """The command, with the options of every task."""
    texts = {
        "datasets": " ".join(
            f"{task.name.capitalize()}: {task.datasets}." for task in all_tasks() if task.datasets
        ),
        "tasks": " ".join(
            f"{task.name.capitalize()}: {task.evaluate_help}." for task in all_tasks()
        ),
        "batch": default_of("evaluate_batch_size"),
    }
    return with_task_options(evaluate, "evaluate", texts=texts)


def evaluate(
    checkpoint: Annotated[str, CHECKPOINT],
    *,
    data: Annotated[
        str | None,
        typer.Option(
            help="Folder of the data, such as ImageNet's with val/n01440764/... inside. Digits and "
            "an installed Fashion-MNIST need none."
        ),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="{datasets}")] = None,
    split: Annotated[
        str | None, typer.Option(help="Part of the data (default: its validation split).")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures into this file.")] = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Draw into this PNG: the confusion matrix, or images with what was found."
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images per forward pass (default: {batch}).")
    ] = None,
    device: Annotated[str, DEVICE] = "auto",
    dtype: Annotated[str, DTYPE] = "auto",
    workers: Annotated[int, WORKERS] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for what is measured batch by batch, and the figures: what --shard writes "
            "and --resume goes on from."
        ),
    ] = None,
    shard: Annotated[str | None, SHARD] = None,
    resume: Annotated[bool, RESUME] = False,
    overwrite: Annotated[bool, OVERWRITE] = False,
    options: dict[str, Any],
) -> None:
    """Measure a checkpoint on a data set, as its task is measured.

    {tasks} Images that cannot be read are reported on standard error and left out; the exit
    status is then 1. Several devices, torchrun and --shard give the same figures as one device
    (docs/many_machines.md).
    """
    from spanetv2 import api
    from spanetv2.models.weights.read import read_checkpoint

    ranks = ranks_of()
    several = "," in device or ranks is not None
    with messages_on_stderr(), Progress("image") as progress:
        record = read_checkpoint(checkpoint)
        done = api.evaluate(
            record,
            data,
            dataset=dataset,
            split=split,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            workers=workers,
            json=json,
            picture=picture,
            progress=not several,
            out=out,
            shard=shard,
            resume=resume,
            overwrite=overwrite,
            ranks=ranks,
            tell=progress.tell if several else lambda images: None,
            **own_options(find_task(record.task), "evaluate", options),
        )
    if done is None:  # the figures are of all parts
        if shard is not None:
            print(
                f"shard {shard} is in {out}; when all shards are there: spanetv2 merge FOLDER...",
                file=sys.stderr,
            )
        return
    print_evaluation(done)


def print_evaluation(done: "Evaluation") -> None:
    """Print the figures, and what could not be read.

    Raises:
        typer.Exit: with status 1, where something could not be.
    """
    measured = done.measurement
    for failure in measured.failures:
        print(f"error: {failure.path}: {failure.reason}", file=sys.stderr)
    print(measured.text())
    for note in done.notes:
        print(note)
    if measured.failed:
        print(
            f"{measured.images} images evaluated, {measured.failed} could not be read",
            file=sys.stderr,
        )
        raise typer.Exit(1)
