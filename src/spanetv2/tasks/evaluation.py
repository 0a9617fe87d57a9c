"""Measuring a checkpoint on data: the loop of every task, and what comes out of it."""

import abc
import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.utils.data import IterableDataset

from spanetv2.data.images import Failure
from spanetv2.data.loader import PartialBatch
from spanetv2.files import write_json

__all__ = [
    "Evaluation",
    "EvaluationPass",
    "EvaluationSettings",
    "Measurement",
    "Measuring",
    "Meter",
    "add_sums",
    "run_evaluation",
    "take_sums",
]

_FAILURES = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationPass:
    """How going through the data went."""

    seconds: float
    """wall-clock time for all batches, reading included"""
    failures: list[Failure]
    """images that could not be read, left out of all figures (the first 1000)"""
    failed: int
    """number of images that could not be read"""


def run_evaluation(
    model: nn.Module,
    loader: Iterable[Any],
    measure: Callable[[Any], int],
    *,
    device: torch.device | str = "cpu",
    progress: bool = False,
    measured: Callable[[int, list[Failure], float], None] | None = None,
) -> EvaluationPass:
    """Go through a loader with a model in evaluation mode, which is left in the mode it was in.

    Args:
        model: moved to ``device``.
        loader: gives batches, or ``PartialBatch`` with the images that could not be read.
        measure: takes a batch, gives its number of images; called under ``inference_mode``.
        device: where to compute.
        progress: show a bar with the rate and the time left.
        measured: told after each batch its number of images, those that could not be read, and the
            seconds that it took.

    Raises:
        ImageError: an image cannot be read and the loader does not skip it.
    """
    from tqdm import tqdm

    was_training = model.training
    model.to(device).eval()
    failures: list[Failure] = []
    images = failed = 0
    start = before = time.perf_counter()
    try:
        batches = len(loader)  # pyright: ignore[reportArgumentType] - a stream may have no length
    except TypeError:
        batches = None
    try:
        with (
            torch.inference_mode(),
            tqdm(total=batches, unit="batch", desc="evaluate", disable=not progress) as bar,
        ):
            for item in loader:
                partial = item if isinstance(item, PartialBatch) else PartialBatch(item, [])
                failed += len(partial.failures)
                failures += partial.failures[: _FAILURES - len(failures)]
                count = measure(partial.batch) if partial.batch is not None else 0
                images += count
                bar.update()
                now = time.perf_counter()
                if measured is not None:
                    measured(count, partial.failures, now - before)
                before, rate = now, images / (now - start)
                bar.set_postfix_str(f"{rate:.1f} images/s", refresh=False)
            if torch.device(device).type == "cuda":
                torch.cuda.synchronize(device)
        seconds = time.perf_counter() - start
    finally:
        model.train(was_training)
    return EvaluationPass(seconds=seconds, failures=failures, failed=failed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measurement(EvaluationPass, abc.ABC):
    """What every task knows of a data set it has measured, beside its own figures."""

    images: int
    """number of images measured"""
    classes: list[str]
    """class names by index"""

    @property
    def images_per_second(self) -> float:
        """Images per second of wall-clock time, reading included."""
        return self.images / max(self.seconds, 1e-9)

    @abc.abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, the task's figures among them."""

    @abc.abstractmethod
    def text(self) -> str:
        """The figures for a terminal: a table per class and a summary."""


class Meter(Protocol):
    """Adds up what is measured, and can say it in rows."""

    def rows(self) -> Any:
        """All that was added since the beginning or the last call, as JSON values; the meter is
        empty after it."""

    def add(self, rows: Any) -> None:
        """Add rows of another meter. Those of single batches, added in the order of the batches to
        an empty meter, give what one meter gives for all batches, to the last bit."""


def take_sums(tensors: Sequence[torch.Tensor]) -> list[list[list[Any]]]:
    """The rows of a meter that holds sums, which are 0 after it: of each tensor the places and the
    values that are not 0."""
    rows = []
    for tensor in tensors:
        flat = tensor.view(-1)
        places = flat.nonzero()[:, 0]
        rows.append([places.tolist(), flat[places].tolist()])
        tensor.zero_()
    return rows


def add_sums(tensors: Sequence[torch.Tensor], rows: Sequence[Sequence[Sequence[Any]]]) -> None:
    """Add rows of ``take_sums`` to sums."""
    for tensor, (places, values) in zip(tensors, rows, strict=True):
        flat = tensor.view(-1)
        flat[places] += torch.tensor(values, dtype=flat.dtype, device=flat.device)


@dataclasses.dataclass(kw_only=True)
class Measuring:
    """A checkpoint and data, ready to be measured.

    Args:
        model: the network.
        loader: gives batches, or ``PartialBatch``.
        meter: adds up.
        measure: puts a batch through the network and adds it to the meter; gives its images.
        frame: what the result says beside what the meter holds, JSON values; ``about`` and
            ``notes`` among them.
        late: more of that, known when all batches were seen.
        source: the data, items with names, or a stream.
        batch_size: images per batch.
        seen: what a picture needs, where it was asked for.
    """

    model: nn.Module
    loader: Iterable[Any]
    meter: Any
    measure: Callable[[Any], int]
    frame: dict[str, Any]
    source: Any
    batch_size: int
    late: Callable[[], dict[str, Any]] = dict
    seen: list[Any] = dataclasses.field(default_factory=list)

    def listing(self) -> str:
        """A digest of the names of all images in their order, their labels where these are known
        by then, and the classes; of a stream what it reads, and by how many processes."""
        digest = hashlib.sha256("\0".join(self.frame["classes"]).encode("utf-8", "surrogatepass"))
        if isinstance(self.source, IterableDataset):
            about: Any = self.source
            digest.update("\0".join([*about.content(), str(about.lanes)]).encode())
        else:
            name = getattr(self.source, "key", self.source.location)
            for index in range(len(self.source)):
                digest.update(f"{name(index)}\0".encode("utf-8", "surrogatepass"))
            if (labels := getattr(self.source, "labels", None)) is not None:
                digest.update(np.ascontiguousarray(labels).tobytes())
        return digest.hexdigest()


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What is to be measured, and how.

    Args:
        device: where to compute.
        data: folder or file of the data, where the data set needs one.
        dataset: kind of data set; None is the task's usual one.
        split: part of the data; None is the validation split.
        batch_size: images per forward pass.
        workers: processes that read images; 0 reads in this one.
        keep_details: keep what a file of figures holds beside them, such as single detections.
        keep_picture: keep what a picture needs.
        progress: show a bar.
        dtype: to compute in.
        takes: which batches are measured, by number from 0; None is all. Of a stream, the loader
            gives all.
        options: the task's own, by name.
    """

    device: torch.device
    batch_size: int
    data: str | None = None
    dataset: str | None = None
    split: str | None = None
    workers: int = 0
    keep_details: bool = False
    keep_picture: bool = False
    progress: bool = False
    dtype: torch.dtype = torch.float32
    takes: Callable[[int], bool] | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A measured checkpoint.

    Args:
        measurement: all figures.
        figures: the task's main ones, by name.
        about: what was measured and how, JSON values.
        draw: draws a picture of the measurement into a PNG; None where there is none.
        notes: lines about the data that a reader of the figures should know.
    """

    measurement: Measurement
    figures: dict[str, float]
    about: dict[str, Any]
    draw: Callable[[Path], None] | None = None
    notes: tuple[str, ...] = ()

    def write(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write all figures as JSON, atomically; gives the files written."""
        write_json(path, {**self.about, **self.measurement.to_json()})
        return [Path(path)]
