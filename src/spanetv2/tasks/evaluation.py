"""Measuring a checkpoint on data: the loop of every task, and what comes out of it."""

import abc
import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spanetv2.data.images import Failure
from spanetv2.data.loader import PartialBatch
from spanetv2.files import write_json

__all__ = [
    "Evaluation",
    "EvaluationPass",
    "EvaluationSettings",
    "Measurement",
    "run_evaluation",
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
) -> EvaluationPass:
    """Go through a loader with a model in evaluation mode, which is left in the mode it was in.

    Args:
        model: moved to ``device``.
        loader: gives batches, or ``PartialBatch`` with the images that could not be read.
        measure: takes a batch, gives its number of images; called under ``inference_mode``.
        device: where to compute.
        progress: show a bar with the rate and the time left.

    Raises:
        ImageError: an image cannot be read and the loader does not skip it.
    """
    from tqdm import tqdm

    was_training = model.training
    model.to(device).eval()
    failures: list[Failure] = []
    images = failed = 0
    start = time.perf_counter()
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
                if partial.batch is not None:
                    images += measure(partial.batch)
                bar.update()
                rate = images / (time.perf_counter() - start)
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What is to be measured, and how.

    Args:
        device: where to compute.
        data: folder or file of the data, where the data set needs one.
        dataset: kind of data set; None is the task's usual one.
        split: part of the data; None is the validation split.
        batch_size: images per forward pass; None is the task's usual number.
        workers: processes that read images; 0 reads in this one.
        keep_details: keep what a file of figures holds beside them, such as single detections.
        keep_picture: keep what a picture needs.
        progress: show a bar.
        dtype: to compute in.
        options: the task's own, by name.
    """

    device: torch.device
    data: str | None = None
    dataset: str | None = None
    split: str | None = None
    batch_size: int | None = None
    workers: int = 0
    keep_details: bool = False
    keep_picture: bool = False
    progress: bool = False
    dtype: torch.dtype = torch.float32
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
