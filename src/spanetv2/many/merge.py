"""The shards of a run on several machines, put together."""

from pathlib import Path
from typing import Any

from spanetv2.drawing import picture_format
from spanetv2.errors import UserError
from spanetv2.kept import promise
from spanetv2.many.evaluate import write_evaluation
from spanetv2.many.folder import EVALUATION, tidy
from spanetv2.many.predict import Report, finish
from spanetv2.tasks import find_task
from spanetv2.tasks.evaluate_part import conclude_rows
from spanetv2.tasks.evaluation import Evaluation
from spanetv2.tasks.joining import join
from spanetv2.tasks.prediction import Predictions
from spanetv2.tasks.shard import claim

__all__ = ["merge_folders"]


def merge_folders(
    folders: list[Path],
    *,
    out: Path | None,
    json: Path | None,
    picture: Path | None,
    keep: bool,
    report: Report | None,
) -> Predictions | Evaluation:
    """See ``spanetv2.merge``."""
    if picture is not None:
        picture_format(picture)  # refused before the work
    joined = join(folders)
    promise(json, picture)
    folder = folders[0] if out is None else out
    task = find_task(joined.manifest["task"])
    if joined.manifest["command"] == "evaluate":
        if picture is not None and not task.draws_figures:
            raise UserError("got --picture for rows that hold no images, expected none")
        claim(folder, joined.manifest)
        done = conclude_rows(task, joined)
        tidy(folder)
        done.write(folder / EVALUATION)
        write_evaluation(done, json, picture)
        return done
    names = [option.name for option in task.predict_options]
    given: dict[str, Any] = {"json": json, "picture": picture}
    given = {name: value for name, value in given.items() if value is not None}
    if foreign := [name for name in given if name not in names]:
        raise UserError(f"got --{foreign[0]}, expected none: {task.name} writes into a folder")
    claim(folder, joined.manifest)
    return finish(joined, folder, given, report=report, keep=keep)
