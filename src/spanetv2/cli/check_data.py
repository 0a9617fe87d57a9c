"""``spanetv2 check-data``: look through a data set before training on it."""

import inspect
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from spanetv2.cli.options import with_task_options
from spanetv2.errors import UserError
from spanetv2.tasks import Task, all_tasks

__all__ = ["check_data_app"]


def check_data_app() -> typer.Typer:
    """The command, with a sub-command for every task."""
    app = typer.Typer(
        name="check-data",
        help="Look through a data set and name every file that cannot be used.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    for task in all_tasks():
        app.command(task.name)(_command(task))
    app.callback()(lambda: None)  # a sub-command is named even where there is only one
    return app


def _command(task: Task) -> Any:
    def check(
        data: Annotated[
            Path | None, typer.Argument(help="Folder of the data, as for training.")
        ] = None,
        *,
        split: Annotated[
            str | None, typer.Option(help="Part of the data; by default train and val.")
        ] = None,
        options: dict[str, Any],
    ) -> None:
        given = task.checked_options("check_data", options)
        if data is None and "annotations" not in given:
            raise UserError("got no data, expected their folder")
        errors = 0
        summary = ""
        # A task with the option --annotations needs no folder.
        parts = task.check_data(data, split=split, progress=True, **given)  # pyright: ignore
        for part in parts:
            for problem in part.problems:
                print(problem, file=sys.stderr)
            print(part.report)
            errors += part.errors
            summary = part.summary
        if summary:
            print(summary, file=sys.stderr)
        if errors:
            raise typer.Exit(1)

    text = inspect.cleandoc(task.check_data.__doc__ or "")
    overridden = type(task).check_data is not Task.check_data
    check.__doc__ = text if overridden else f"Not there for {task.name} yet."
    return with_task_options(check, "check_data", tasks=[task])
