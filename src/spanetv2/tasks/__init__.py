"""The tasks: one folder each with all of it, and this list, the only place with their names.

A task is imported when it is asked for. ``register`` adds one from outside the package.
"""

import importlib
from collections.abc import Iterator

from spanetv2.errors import UserError
from spanetv2.tasks.task import Task

__all__ = ["Task", "all_tasks", "find_task", "register", "task_names"]

_MODULES = {
    "classification": "spanetv2.tasks.classification.task",
    "segmentation": "spanetv2.tasks.segmentation.task",
    "detection": "spanetv2.tasks.detection.task",
}
_REGISTERED: dict[str, Task] = {}


def register(task: Task) -> None:
    """Make a task known to every command of this process.

    Args:
        task: its ``name`` is what the commands and the records of its weights say.

    Raises:
        UserError: a task of this name is known already.
    """
    if task.name in task_names():
        raise UserError(f"got task {task.name!r} a second time, expected a new name")
    _REGISTERED[task.name] = task


def task_names() -> tuple[str, ...]:
    """Names of all tasks.

    Example:
        >>> task_names()[:3]
        ('classification', 'segmentation', 'detection')
    """
    return (*_MODULES, *(name for name in _REGISTERED if name not in _MODULES))


def find_task(name: str) -> Task:
    """The task of a name.

    Raises:
        UserError: there is none.

    Example:
        >>> find_task("segmentation").figures[0]
        'miou'
    """
    if name in _MODULES and name not in _REGISTERED:
        _REGISTERED[name] = importlib.import_module(_MODULES[name]).TASK
    if name not in _REGISTERED:
        *first, last = task_names()
        raise UserError(f"got task {name!r}, expected {', '.join(first)} or {last}")
    return _REGISTERED[name]


def all_tasks() -> Iterator[Task]:
    """Every task."""
    return map(find_task, task_names())
