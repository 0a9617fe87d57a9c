"""What the name of a network means to ``spanetv2 benchmark``: a checkpoint, or a task's network."""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spanetv2.benchmark.subject import Subject
    from spanetv2.models.weights.read import Checkpoint
    from spanetv2.tasks import Task

__all__ = ["find_network", "full_name", "usual_shape"]


@functools.lru_cache(maxsize=16)
def _source(name: str) -> "tuple[Task, str | Checkpoint]":
    """The task that a network is of, and its full name or checkpoint, which is read once."""
    from spanetv2.cli.naming import find_checkpoint
    from spanetv2.models.weights.record import DEFAULT_TASK
    from spanetv2.tasks import all_tasks, find_task

    if (checkpoint := find_checkpoint(name)) is not None:
        return find_task(checkpoint.task), checkpoint
    usual = find_task(DEFAULT_TASK)
    for task in all_tasks():
        if task is not usual and (full := task.benchmark_name(name)) is not None:
            return task, full
    full = usual.benchmark_name(name)
    assert full is not None
    return usual, full


def full_name(name: str) -> str:
    """The full name of a network; a checkpoint's is what it was called by.

    Raises:
        UserError: no such network or checkpoint.
    """
    _, source = _source(name)
    return source if isinstance(source, str) else name


def usual_shape(names: Sequence[str]) -> tuple[int, int]:
    """Images of a pass and their side in pixels where none is said: those of the first network.

    Raises:
        UserError: no such network.
    """
    task, source = _source(names[0])
    return task.benchmark_shape(source)


def find_network(name: str, size: int) -> "Subject":
    """The network of a name, for images of a side in pixels.

    Raises:
        UserError: no such network, or a damaged checkpoint.
    """
    task, source = _source(name)
    return task.benchmark_subject(source, size)
