"""``spanetv2 merge``: the shards of one run, put together."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from spanetv2.cli.evaluate import print_evaluation
from spanetv2.cli.messages import messages_on_stderr
from spanetv2.cli.progress import Progress

__all__ = ["merge"]


def merge(
    folders: Annotated[
        list[Path],
        typer.Argument(help="Folders that predict or evaluate --shard wrote; one or several."),
    ],
    *,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the result (default: the first folder).")
    ] = None,
    json: Annotated[
        Path | None,
        typer.Option(
            help="Write the figures, or a classifier's answers, into this file; figures are "
            "otherwise in OUT/evaluation.json."
        ),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Classification: draw into this PNG, as without shards.")
    ] = None,
) -> None:
    """Put the shards of one run of predict or evaluate together: the result of one without shards.

    Shards of different weights, options or images are refused, and those that are missing are
    named. Exit status 1 where images could not be read.
    """
    from spanetv2 import api
    from spanetv2.tasks.prediction import Predictions

    with messages_on_stderr(), Progress("image") as progress:
        done = api.merge(
            folders, out=out, json=json, picture=picture, keep=False, report=progress.problem
        )
    if not isinstance(done, Predictions):
        print_evaluation(done)
        return
    for line in done.summary:
        print(line, file=sys.stderr)
    if done.failed:
        raise typer.Exit(1)
