"""What ``spanetv2 predict`` and ``evaluate`` do for each task but classification.

A module here has plain functions ``predict(checkpoint, paths, *, ...)`` and
``evaluate(checkpoint, *, ...)``.
"""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from spanetv2.errors import UserError

__all__ = ["only_for", "task_commands"]


def task_commands(task: str) -> Any:
    """The module of a task.

    Raises:
        UserError: no such task.
    """
    if task not in ("segmentation", "detection"):
        raise UserError(
            f"weights of task {task!r}, expected classification, segmentation or detection; "
            "a newer version of spanetv2 may have written them"
        )
    return importlib.import_module(f"spanetv2.cli.tasks.{task}")


def only_for(
    task: str, given: Mapping[str, Any], known: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The options of a task that were given; those of other tasks are refused.

    Args:
        task: of the checkpoint.
        given: option -> value, None where it was not given.
        known: task -> its options.

    Raises:
        UserError: an option of another task.

    Example:
        >>> known = {"classification": ["top_k"], "detection": ["score"]}
        >>> only_for("detection", {"top_k": None, "score": 0.3}, known)
        {'score': 0.3}
    """
    found = {name: value for name, value in given.items() if value is not None}
    wrong = [name for name in found if name not in known.get(task, ())]
    if wrong:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        owners = [owner for owner, names in known.items() if wrong[0] in names]
        raise UserError(
            f"got {flags}, which is for {' and '.join(owners)}; these are weights of {task}"
        )
    return found
