"""A checkpoint's answers for image files: the loop of every task, and where answers go."""

import abc
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from spanetv2.data.images import Failure
from spanetv2.data.paths import Chosen, find_images
from spanetv2.errors import UserError
from spanetv2.kept import keep, leave_out, refuse_to_replace

__all__ = [
    "Answer",
    "PredictionSettings",
    "PredictionWriter",
    "Predictions",
    "Predictor",
    "guard_inputs",
]


@dataclass(frozen=True, kw_only=True)
class PredictionSettings:
    """How images are to be looked at, and where answers go.

    Args:
        device: where to compute.
        batch_size: images per forward pass.
        workers: processes that read images; 0 reads in this one.
        dtype: to compute in.
        options: the task's own, by name.
    """

    device: torch.device
    batch_size: int
    workers: int = 0
    dtype: torch.dtype = torch.float32
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is said about an image.

    Args:
        record: JSON values, ``path`` among them; ``error`` where the image could not be read.
        lines: for standard output; none where the answer went into a file.
    """

    record: dict[str, Any]
    lines: list[str] = field(default_factory=list)


class PredictionWriter(abc.ABC):
    """Where the answers about all images go, made of the records of single ones.

    Attributes:
        files: what was written; whole when the writer is closed.
        prints: whether answers are printed, so that a bar would be in their way.
    """

    files: list[Path]
    prints: bool = False

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Open the files, which appear when the block ends without an error."""
        yield

    def put(self, record: dict[str, Any]) -> None:  # noqa: B027 - printing needs none
        """Take in the next image's record, or that of an image which could not be read."""

    @abc.abstractmethod
    def lines(self, record: dict[str, Any]) -> list[str]:
        """What standard output is told of an image."""

    def pictures(self, record: dict[str, Any]) -> list[Path]:
        """The files about a single image, within the folder of outputs."""
        return []

    @abc.abstractmethod
    def summary(self, images: int, failed: int) -> list[str]:
        """Lines about the whole, for standard error."""


class Predictor(abc.ABC):
    """A model ready to answer for image files.

    Attributes:
        folder: where files about single images go; None where there are none.
    """

    folder: Path | None = None

    def targets(self, paths: Iterable[str]) -> Iterator[str | os.PathLike[str]]:
        """The files that answers for these images are written to, those about all first."""
        yield from ()

    def places(self) -> Callable[[str], Any]:
        """A function that is told of every file found, in order, and gives what its answer is to be
        called: names that are unique over all files, which are more than this process looks at."""
        return lambda path: None

    @abc.abstractmethod
    def predict(
        self, paths: Iterable[str | os.PathLike[str]], *, chosen: Chosen | None = None
    ) -> Iterator[Any | Failure]:
        """One prediction or ``Failure`` for each file, folder's image and pattern's match.

        Args:
            paths: files, folders and patterns.
            chosen: which batches are looked at; see ``path_batches``.
        """

    @abc.abstractmethod
    def answer(self, prediction: Any, place: Any) -> dict[str, Any]:
        """Write the files about a single image, and say all in JSON values, ``path`` among them.

        Args:
            prediction: of ``predict``.
            place: of ``places``.
        """

    def facts(self) -> dict[str, Any]:
        """What a writer must know of the weights, JSON values."""
        return {}


def guard_inputs(predictor: Predictor, paths: Sequence[str | os.PathLike[str]]) -> None:
    """Keep the images from being replaced by what is said of them, and outputs from being read.

    Args:
        predictor: knows where its outputs go.
        paths: files, folders and patterns, as given.

    Raises:
        UserError: an output would replace an image, or the folder that is searched takes outputs.
    """
    folder = predictor.folder
    if folder is not None and folder.is_dir():
        for path in paths:
            if Path(path).is_dir() and folder.samefile(path):
                raise UserError(
                    f"got {path} as the folder of images and of outputs, expected two folders; "
                    f"choose another with --out, such as {Path(path) / 'predictions'}"
                )

    def images() -> Iterator[str]:
        return (found for found in find_images(paths) if isinstance(found, str))

    keep(images)
    if folder is not None:
        leave_out(folder)
        if not folder.is_dir():
            paths = ()  # nothing there to replace
    for target in predictor.targets(images() if paths else ()):
        refuse_to_replace(target)


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
