"""``spanetv2 predict``: a trained model's answer for image files."""

import sys
from collections.abc import Callable
from typing import Annotated, Any

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

__all__ = ["predict_command"]


def predict_command() -> Callable[..., None]:
    """The command, with the options of every task."""
    texts = {
        "tasks": " ".join(
            f"{task.name.capitalize()}: {task.predict_help}." for task in all_tasks()
        ),
        "batch": default_of("predict_batch_size"),
    }
    return with_task_options(predict, "predict", texts=texts)


def predict(
    checkpoint: Annotated[str, CHECKPOINT],
    paths: Annotated[
        list[str], typer.Argument(help="Image files, folders (searched below), or glob patterns.")
    ],
    *,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Images per forward pass (default: {batch}).")
    ] = None,
    device: Annotated[str, DEVICE] = "auto",
    dtype: Annotated[str, DTYPE] = "auto",
    workers: Annotated[int, WORKERS] = 0,
    engine: Annotated[
        str,
        typer.Option(
            metavar="local|ray",
            help="local, or ray: on the devices of a Ray cluster (RAY_ADDRESS; without one, on "
            "this machine), from files or URLs such as s3://bucket/folder.",
        ),
    ] = "local",
    shard: Annotated[str | None, SHARD] = None,
    resume: Annotated[bool, RESUME] = False,
    overwrite: Annotated[bool, OVERWRITE] = False,
    options: dict[str, Any],
) -> None:
    """Answer for image files, as the checkpoint was trained to.

    {tasks} An image that cannot be read is reported on a line of its own on standard error and the
    rest goes on; the exit status is then 1. Several devices, torchrun, --shard and --engine ray
    give the same result as one device (docs/many_machines.md).
    """
    from spanetv2 import api
    from spanetv2.models.weights.read import read_checkpoint

    with messages_on_stderr(), Progress("image") as progress:
        record = read_checkpoint(checkpoint)
        done = api.predict(
            record,
            paths,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            workers=workers,
            engine=engine,
            keep=False,
            report=progress.report,
            shard=shard,
            resume=resume,
            overwrite=overwrite,
            ranks=ranks_of(),
            tell=progress.tell,
            **own_options(find_task(record.task), "predict", options),
        )
    sys.stdout.flush()
    for line in done.summary:
        print(line, file=sys.stderr)
    if done.failed and shard is None:
        raise typer.Exit(1)
