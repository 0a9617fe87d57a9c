"""``spanetv2 predict``: a trained model's answer for image files."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spanetv2.cli.messages import messages_on_stderr
from spanetv2.cli.options import (
    CHECKPOINT,
    DEVICE,
    DTYPE,
    WORKERS,
    default_of,
    own_options,
    with_task_options,
)
from spanetv2.tasks import all_tasks, find_task

if TYPE_CHECKING:
    from spanetv2.data.images import Failure
    from spanetv2.tasks.prediction import Answer, PredictionWriter

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
    options: dict[str, Any],
) -> None:
    """Answer for image files, as the checkpoint was trained to.

    {tasks} An image that cannot be read is reported on a line of its own on standard error and the
    rest goes on; the exit status is then 1.
    """
    from spanetv2 import api
    from spanetv2.models.weights.read import read_checkpoint

    with messages_on_stderr(), _Report() as report:
        record = read_checkpoint(checkpoint)
        done = api.predict(
            record,
            paths,
            batch_size=batch_size,
            device=device,
            dtype=dtype,
            workers=workers,
            keep=False,
            report=report,
            **own_options(find_task(record.task), "predict", options),
        )
    sys.stdout.flush()
    for line in done.summary:
        print(line, file=sys.stderr)
    if done.failed:
        raise typer.Exit(1)


class _Report:
    """Prints what is said of each image, under a bar where the bar is not in the way."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> "_Report":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(
        self, answer: "Answer | Failure", writer: "PredictionWriter", lines: list[str]
    ) -> None:
        from tqdm import tqdm

        from spanetv2.data.images import Failure
        from spanetv2.text import printable

        if self._bar is None:
            self._bar = tqdm(unit="image", disable=writer.prints, delay=1)
        self._bar.update()
        if isinstance(answer, Failure):
            message = f"error: {printable(answer.path)}: {printable(answer.reason)}"
            tqdm.write(message, file=sys.stderr)
        for line in lines:
            tqdm.write(line, file=sys.stdout)
