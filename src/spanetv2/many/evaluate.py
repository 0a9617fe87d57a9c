"""Measuring a checkpoint, in parts where a folder keeps the rows."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spanetv2.drawing import picture_format
from spanetv2.errors import UserError
from spanetv2.many.folder import EVALUATION, begin, tidy
from spanetv2.many.ranks import Ranks
from spanetv2.many.spread import spread
from spanetv2.models.weights.read import Checkpoint
from spanetv2.precision import Precision
from spanetv2.tasks.evaluate_part import conclude_rows, measure_part
from spanetv2.tasks.evaluation import Evaluation, EvaluationSettings
from spanetv2.tasks.joining import join
from spanetv2.tasks.shard import Part, Shard, claim, manifest_of
from spanetv2.tasks.task import Task

__all__ = ["Request", "evaluate_parts", "evaluate_whole", "write_evaluation"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What ``spanetv2.evaluate`` was asked for."""

    record: Checkpoint
    task: Task
    settings: EvaluationSettings
    precision: Precision
    json: Path | None
    picture: Path | None

    def __post_init__(self) -> None:
        if self.picture is not None:
            picture_format(self.picture)  # refused before the work

    def manifest(self, shards: int) -> dict[str, Any]:
        """What calls that write into one folder must have in common."""
        settings = self.settings
        options = {
            "data": settings.data,
            "dataset": settings.dataset,
            "split": settings.split,
            "batch_size": settings.batch_size,
            "dtype": self.precision.name,
            **settings.options,
        }
        return manifest_of("evaluate", self.task.name, self.record.path, shards, options)


def evaluate_whole(request: Request) -> Evaluation:
    """Measure in one go, without rows."""
    done = request.task.evaluate(request.record, request.settings)
    done = dataclasses.replace(
        done,
        about={**done.about, "dtype": request.precision.name},
        notes=(*done.notes, request.precision.text),
    )
    write_evaluation(done, request.json, request.picture)
    return done


def write_evaluation(done: Evaluation, json: Path | None, picture: Path | None) -> None:
    """Write what was asked for."""
    if json is not None:
        done.write(json)
    if picture is not None and done.draw is not None:
        done.draw(picture)


def evaluate_parts(
    request: Request,
    folder: Path,
    shard: Shard | None,
    devices: Sequence[str],
    function: Callable[..., Any],
    *,
    ranks: Ranks | None,
    resume: bool,
    overwrite: bool,
    figures: bool,
    tell: Callable[[int], None],
) -> Evaluation | None:
    """Measure by way of rows in a folder.

    Args:
        request: what was asked for.
        folder: for the rows.
        shard: the part that is asked for; None is all, whose figures are then made.
        devices: where to compute.
        function: ``spanetv2.evaluate``, for the processes of several devices.
        ranks: this process among those that share the work.
        resume: go on behind the rows that are there.
        overwrite: remove what is there.
        figures: write the figures into the folder, too.
        tell: told the number of images of each batch.
    """
    task, settings = request.task, request.settings
    outputs = {"--json": request.json, "--picture": request.picture}
    given = [name for name, value in outputs.items() if value is not None]
    if shard is not None and given:
        raise UserError(
            f"got --shard with {' and '.join(given)}, which is about all shards; expected it with "
            "spanetv2 merge"
        )
    if request.picture is not None and not task.draws_figures:
        raise UserError(
            "got --picture with --out or several devices, whose rows hold no images; expected it "
            "without them"
        )
    whole = shard or Shard(1, 1)
    begin(folder, ranks, overwrite=overwrite)
    start = time.perf_counter()
    if ranks is not None:
        _evaluate_part(request, folder, ranks.shard(), resume=resume, tell=tell)
        ranks.wait()
        if ranks.rank:
            return None
    elif len(devices) == 1:
        _evaluate_part(request, folder, whole, resume=resume, tell=tell)
    else:
        claim(folder, request.manifest(whole.of * len(devices)))
        arguments = {
            "checkpoint": str(request.record.path),
            "data": settings.data,
            "dataset": settings.dataset,
            "split": settings.split,
            "batch_size": settings.batch_size,
            "dtype": request.precision.name,
            "workers": settings.workers,
            "out": str(folder),
            "resume": resume,
            **settings.options,
        }
        spread(function, devices, whole, arguments, tell)
    if shard is not None:
        return None
    done = conclude_rows(task, join([folder]))
    if ranks is not None or len(devices) > 1:  # side by side
        seconds = time.perf_counter() - start
        done = dataclasses.replace(
            done, measurement=dataclasses.replace(done.measurement, seconds=seconds)
        )
    if figures:
        tidy(folder)
        done.write(folder / EVALUATION)
    write_evaluation(done, request.json, request.picture)
    return done


def _evaluate_part(
    request: Request, folder: Path, shard: Shard, *, resume: bool, tell: Callable[[int], None]
) -> None:
    """Measure the batches of a part that are not measured yet, into rows."""
    part: Part | None = None

    def takes(batch: int) -> bool:
        assert part is not None
        return part.takes(batch)

    settings = dataclasses.replace(request.settings, takes=takes, keep_details=True)
    opened = request.task.open_evaluation(request.record, settings)
    opened.frame["about"]["dtype"] = request.precision.name
    opened.frame["notes"].append(request.precision.text)
    part = Part(folder, shard, request.manifest(shard.of), resume=resume)
    with contextlib.closing(part):
        measure_part(
            opened,
            part,
            device=request.settings.device,
            progress=request.settings.progress,
            tell=tell,
        )
