"""What a process of a Ray cluster does: it answers for batches of images."""

import concurrent.futures
import dataclasses
import functools
import logging
import os
import pickle
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import torch

from spanetv2.data.images import Failure
from spanetv2.errors import UserError
from spanetv2.failures import describe_failure
from spanetv2.many.urls import is_url, read_url
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.prediction import PredictionSettings, Predictor
from spanetv2.tasks.task import Task
from spanetv2.text import one_line

__all__ = ["Answers", "Given", "Job", "RayDevice"]

Given = tuple[Checkpoint, Task, PredictionSettings]
"""What is computed with."""

_READERS = 16
"""Objects that are fetched at a time."""


@dataclass(frozen=True)
class Job:
    """A batch of images.

    Args:
        number: of the batch.
        entries: how each image is called, or what is wrong with it.
        sources: from where each is read: a path from the root, or a URL.
        places: what the answers are to be called.
        digest: of the names of the images.
    """

    number: int
    entries: list[str | Failure]
    sources: list[str]
    places: list[Any]
    digest: str


@dataclass(frozen=True)
class Answers:
    """What is said of a batch.

    Args:
        number: of the batch.
        digest: the job's.
        records: one for each image.
        pictures: the files about single images, by their names within the folder of outputs.
    """

    number: int
    digest: str
    records: list[dict[str, Any]]
    pictures: dict[str, bytes]


class RayDevice:
    """An actor that answers for batches.

    Args:
        given: Ray's reference to what it computes with.
        kind: cpu or cuda; which one is Ray's matter.
    """

    def __init__(self, given: Any, kind: str):
        import ray

        self._given: Given = ray.get(given)
        self._kind = kind
        # there only while batches are answered for: Ray ends actors without a word
        self._folder = Path(tempfile.gettempdir()) / f"spanetv2-{uuid.uuid4().hex[:12]}"

    def __call__(self, table: Any) -> Any:
        """From a table of jobs to one of answers; a text in the place of one is an error."""
        import pyarrow

        jobs = [pickle.loads(job) for job in table["job"].to_pylist()]  # noqa: S301 - the driver's
        answers: Sequence[Answers | str]
        try:
            answers = self._answers(jobs)
        except UserError as error:
            answers = [str(error)]
        except Exception as error:
            if os.environ.get("SPANETV2_TRACEBACK"):
                raise
            answers = [describe_failure(error) or f"not foreseen: {error}"]
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        rows = [pickle.dumps(answer) for answer in answers]
        return pyarrow.table({"answers": pyarrow.array(rows, pyarrow.large_binary())})

    @functools.cached_property
    def _predictor(self) -> Predictor:
        checkpoint, task, settings = self._given
        logging.getLogger("spanetv2").setLevel(logging.ERROR)  # the driver has said it
        options = dict(settings.options)
        if task.default_folder is not None:
            options["out"] = self._folder
        settings = dataclasses.replace(settings, device=torch.device(self._kind), options=options)
        return task.predictor(checkpoint, settings)

    def _answers(self, jobs: Sequence[Job]) -> list[Answers]:
        # one call for all batches, so that loading processes read on; each is as long as the
        # predictor's batches, but for the last one of all, which is the last one here, too
        predictor = self._predictor
        entries = [entry for job in jobs for entry in job.entries]
        sources = [source for job in jobs for source in job.sources]
        files = _at_hand(entries, sources, self._folder / ".fetched")
        found = iter(predictor.predict([name for name, _ in files]))
        named = iter(zip(entries, files, strict=True))
        answers = []
        for job in jobs:
            records, pictures = [], {}
            for place in job.places:
                prediction, (entry, (_, failure)) = next(found), next(named)
                name = entry.path if isinstance(entry, Failure) else entry
                if isinstance(prediction, Failure):
                    records.append({"path": name, "error": failure or prediction.reason})
                    continue
                if dataclasses.is_dataclass(prediction) and not isinstance(prediction, type):
                    prediction = dataclasses.replace(prediction, path=name)
                record = {**predictor.answer(prediction, place), "path": name}
                records.append(record)
                pictures.update(self._pictures(record))
            answers.append(Answers(job.number, job.digest, records, pictures))
        return answers

    def _pictures(self, record: dict[str, Any]) -> dict[str, bytes]:
        """The files about an image."""
        _, task, settings = self._given
        writer = task.prediction_writer(self._predictor.facts(), settings.options)
        names = writer.pictures(record)
        return {str(name): (self._folder / name).read_bytes() for name in names}


def _at_hand(
    entries: Sequence[str | Failure], sources: Sequence[str], folder: Path
) -> list[tuple[str, str | None]]:
    """A file for each image, and what is known to be wrong with it: there is then no such file."""

    def bring(number: int) -> tuple[str, str | None]:
        entry, source = entries[number], sources[number]
        if isinstance(entry, Failure):
            return str(folder / f"{number}"), entry.reason
        if not is_url(source):
            return source, None
        file = folder / f"{number}{Path(unquote(urlsplit(source).path)).suffix}"
        try:
            file.write_bytes(read_url(source))
        except FileNotFoundError:
            return str(file), "no such file or directory"
        except OSError as error:
            return str(file), one_line(error)
        return str(file), None

    folder.mkdir(parents=True)
    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        return list(pool.map(bring, range(len(entries))))
