"""A checkpoint's answers for image files: the loop of every task, and where answers go."""

import abc
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from spanetv2.data.images import Failure

__all__ = [
    "Answer",
    "PredictionSettings",
    "PredictionWriter",
    "Predictions",
    "Predictor",
]


@dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    """How images are to be looked at, and where answers go.

    Args:
        device: where to compute.
        batch_size: images per forward pass; None is the task's usual number.
        workers: processes that read images; 0 reads in this one.
        dtype: to compute in.
        options: the task's own, by name.
    """

    device: torch.device
    batch_size: int | None = None
    workers: int = 0
    dtype: torch.dtype = torch.float32
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is said about an image.

    Args:
        record: JSON values, ``path`` among them.
        lines: for standard output; none where the answer went into a file.
    """

    record: dict[str, Any]
    lines: list[str] = field(default_factory=list)


class PredictionWriter(abc.ABC):
    """Where the answers go.

    Attributes:
        files: what was written; whole when the writer is closed.
        prints: whether answers are printed, so that a bar would be in their way.
    """

    files: list[Path]
    prints: bool = False

    @abc.abstractmethod
    def write(self, prediction: Any) -> Answer:
        """Take in the prediction for one image."""

    def fail(self, failure: Failure) -> list[str]:
        """Take in an image that could not be read; gives lines for standard output."""
        return []

    @abc.abstractmethod
    def summary(self, images: int, failed: int) -> list[str]:
        """Lines about the whole, for standard error."""


class Predictor(abc.ABC):
    """A model ready to answer for image files."""

    @abc.abstractmethod
    def predict(self, paths: Iterable[str | os.PathLike[str]]) -> Iterator[Any | Failure]:
        """One prediction or ``Failure`` for each file, folder's image and pattern's match."""

    @abc.abstractmethod
    def writer(self) -> AbstractContextManager[PredictionWriter]:
        """Open what the settings ask for; files appear when it is closed without an error."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What became of the images.

    Args:
        images: number of images answered for.
        failed: number of images that could not be read.
        failures: which and why (the first 1000).
        records: what is said about each image, JSON values; empty where they were not kept.
        files: files written.
        dtype: what was computed in.
        summary: lines about the whole.
    """

    images: int
    failed: int
    failures: list[Failure]
    records: list[dict[str, Any]]
    files: list[Path]
    dtype: str
    summary: list[str]
