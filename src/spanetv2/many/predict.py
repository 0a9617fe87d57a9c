"""Predicting for image files, in parts where a folder keeps the rows."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spanetv2.data.images import Failure
from spanetv2.errors import UserError
from spanetv2.many.folder import begin, bring, inside, names_of, tidy
from spanetv2.many.ranks import Ranks
from spanetv2.many.ray_cluster import Pool, write_part_on_ray
from spanetv2.many.spread import spread
from spanetv2.many.urls import find_sources, is_url
from spanetv2.models.weights.read import Checkpoint
from spanetv2.precision import Precision
from spanetv2.tasks import find_task
from spanetv2.tasks.joining import Joined, join
from spanetv2.tasks.predict_files import Listing, predict_files, write_part
from spanetv2.tasks.prediction import (
    Answer,
    Predictions,
    PredictionSettings,
    PredictionWriter,
    guard_inputs,
)
from spanetv2.tasks.shard import Part, Shard, claim, manifest_of
from spanetv2.tasks.task import Task
from spanetv2.text import printable

__all__ = ["Collected", "Report", "Request", "finish", "predict_parts", "predict_whole"]

_OUTPUTS = ("out", "json", "picture")
_FAILURES = 1000

Report = Callable[[Answer | Failure, PredictionWriter, list[str]], None]
"""Called for each image with what is said of it, the writer, and lines to print."""


class Collected:
    """What became of the images so far.

    Args:
        writer: of the task.
        report: called for each image.
        keep: keep the records.
    """

    def __init__(self, writer: PredictionWriter, report: Report | None, *, keep: bool):
        self.writer = writer
        self.report = report
        self.keep = keep
        self.images = self.failed = 0
        self.failures: list[Failure] = []
        self.records: list[dict[str, Any]] = []

    def add(self, record: dict[str, Any]) -> None:
        """Take in an image's record."""
        lines = self.writer.lines(record)
        answer: Answer | Failure = Answer(record=record, lines=lines)
        if "error" in record:
            answer = Failure(record["path"], record["error"])
            self.failed += 1
            self.failures += [answer][: _FAILURES - len(self.failures)]
        else:
            self.images += 1
            self.records += [record] if self.keep else []
        if self.report is not None:
            self.report(answer, self.writer, lines)

    def predictions(self, dtype: str, *, files: list[Path], summary: list[str]) -> Predictions:
        """All of it."""
        return Predictions(
            images=self.images,
            failed=self.failed,
            failures=self.failures,
            records=self.records,
            files=files,
            dtype=dtype,
            summary=summary,
        )


@dataclass(frozen=True, kw_only=True)
class Request:
    """What ``spanetv2.predict`` was asked for."""

    record: Checkpoint
    task: Task
    settings: PredictionSettings
    precision: Precision
    paths: list[str]
    report: Report | None
    keep: bool
    pool: Pool | None = None
    """processes on a Ray cluster that compute, in the place of devices of this machine"""

    def manifest(self, shards: int) -> dict[str, Any]:
        """What calls that write into one folder must have in common."""
        options = {k: v for k, v in self.settings.options.items() if k not in _OUTPUTS}
        return manifest_of(
            "predict",
            self.task.name,
            self.record.path,
            shards,
            {
                "paths": names_of(self.paths),
                "batch_size": self.settings.batch_size,
                "dtype": self.precision.name,
                **options,
            },
        )


def predict_whole(request: Request) -> Predictions:
    """Answer for all images, in one go and without rows."""
    predictor = request.task.predictor(request.record, request.settings)
    guard_inputs(predictor, request.paths)
    writer = request.task.prediction_writer(predictor.facts(), request.settings.options)
    collected = Collected(writer, request.report, keep=request.keep)
    with writer.opened():
        for _, _, records in predict_files(predictor, request.paths, Listing(predictor)):
            for record in records:
                writer.put(record)
                collected.add(record)
    summary = [*writer.summary(collected.images, collected.failed), request.precision.text]
    return collected.predictions(request.precision.name, files=writer.files, summary=summary)


def predict_parts(
    request: Request,
    folder: Path,
    shard: Shard | None,
    devices: Sequence[str],
    function: Callable[..., Any],
    *,
    ranks: Ranks | None,
    resume: bool,
    overwrite: bool,
    tell: Callable[[int], None],
) -> Predictions:
    """Answer for images by way of rows in a folder.

    Args:
        request: what was asked for.
        folder: for rows and files about single images.
        shard: the part that is asked for; None is all, whose results are then made.
        devices: where to compute.
        function: ``spanetv2.predict``, for the processes of several devices.
        ranks: this process among those that share the work.
        resume: go on behind the rows that are there.
        overwrite: remove what is there.
        tell: told the number of images of each batch.
    """
    options = request.settings.options
    given = [f"--{name}" for name in ("json", "picture") if options.get(name) is not None]
    if shard is not None and given:
        raise UserError(
            f"got --shard with {' and '.join(given)}, which is about all shards; expected it with "
            "spanetv2 merge"
        )
    if options.get("picture") is not None and any(map(is_url, request.paths)):
        raise UserError("got --picture with URLs, expected it with files, or URLs without it")
    whole = shard or Shard(1, 1)
    begin(folder, ranks, overwrite=overwrite)
    answered = Predictions(
        images=0, failed=0, failures=[], records=[], files=[], dtype="", summary=[]
    )
    report = request.report
    if ranks is not None:
        quiet = dataclasses.replace(request, report=None, keep=False)
        _predict_part(quiet, folder, ranks.shard(), resume=resume, tell=tell)
        ranks.wait()
        if ranks.rank:
            return answered
    elif len(devices) == 1 or request.pool is not None:
        answered = _predict_part(request, folder, whole, resume=resume, tell=tell)
        report = None  # of these images it was told
    else:
        claim(folder, request.manifest(whole.of * len(devices)))
        arguments = {
            "checkpoint": str(request.record.path),
            "paths": request.paths,
            "batch_size": request.settings.batch_size,
            "dtype": request.precision.name,
            "workers": request.settings.workers,
            "keep": False,
            "resume": resume,
            **{k: v for k, v in options.items() if k not in _OUTPUTS},
            "out": str(folder),
        }
        spread(function, devices, whole, arguments, tell)
    if shard is not None:
        told = (
            f"shard {shard.number}/{shard.of} is in {printable(str(folder))}; when all shards are "
            "there: spanetv2 merge FOLDER..."
        )
        return dataclasses.replace(answered, summary=[told, request.precision.text])
    pictures = None if request.task.default_folder is None else folder
    done = finish(join([folder]), pictures, options, report=report, keep=request.keep)
    return dataclasses.replace(done, summary=[*done.summary, request.precision.text])


def _predict_part(
    request: Request, folder: Path, shard: Shard, *, resume: bool, tell: Callable[[int], None]
) -> Predictions:
    """Answer for the images of a part that are not answered for yet, into rows."""
    predictor = request.task.predictor(request.record, request.settings)
    guard_inputs(predictor, request.paths)
    writer = request.task.prediction_writer(predictor.facts(), request.settings.options)
    collected = Collected(writer, request.report, keep=request.keep)

    def told(records: list[dict[str, Any]]) -> None:
        for record in records:
            collected.add(record)
        tell(len(records))

    # before the folder is this run's: an object store may not answer
    sources = [] if request.pool is None else list(find_sources(request.paths))
    manifest = request.manifest(shard.of)
    with contextlib.closing(Part(folder, shard, manifest, resume=resume)) as part:
        if request.pool is None:
            write_part(predictor, request.paths, part, told)
        else:
            given = (request.record, request.task, request.settings)
            write_part_on_ray(predictor, sources, part, told, pool=request.pool, given=given)
    return collected.predictions(
        request.precision.name,
        files=[shard.path(folder)],
        summary=writer.summary(collected.images, collected.failed),
    )


def finish(
    joined: Joined,
    out: Path | None,
    options: Mapping[str, Any],
    *,
    report: Report | None = None,
    keep: bool = False,
) -> Predictions:
    """Make the outputs of a run from its rows.

    Args:
        joined: all parts.
        out: where files about single images are to be; None where there are none.
        options: of ``spanetv2 predict``, in the place of the run's.
        report: called for each image.
        keep: keep the records.

    Raises:
        UserError: rows are damaged, or name files that are not there.
    """
    task = find_task(joined.manifest["task"])
    folder = {} if out is None else {"out": out}
    writer = task.prediction_writer(
        joined.facts, {**joined.manifest["options"], **folder, **options}
    )
    collected = Collected(writer, report, keep=keep)
    if out is not None:
        tidy(out)
    with writer.opened():
        for line, place in joined.rows():
            for record in line["rows"]:
                for name in writer.pictures(record):
                    assert out is not None
                    if not (source := inside(place, name)).is_file():
                        raise UserError(
                            f"{source} is missing; bring it, or run its shard again without "
                            "--resume, and merge again"
                        )
                    bring(source, out / name)
                writer.put(record)
                collected.add(record)
    return collected.predictions(
        joined.manifest["options"]["dtype"],
        files=writer.files,
        summary=writer.summary(collected.images, collected.failed),
    )
