"""Classifying image files, however many and whatever state they are in.

Paths are found while images are read and read while the model computes, so memory depends on the
batch size and the largest folder listing, not on the number of files.
"""

import glob
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from spanetv2.data.images import EXTENSIONS, Failure, ImageError, read_image
from spanetv2.data.walk import walk
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.source import Transform

__all__ = ["Prediction", "find_images", "predict"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model says about one image."""

    path: str
    """the file"""
    indices: list[int]
    """the classes with the highest probability, best first"""
    probabilities: list[float]
    """theirs, 0 to 1"""


def predict(
    model: nn.Module,
    paths: Iterable[str | os.PathLike[str]],
    *,
    transform: Transform,
    top_k: int = 5,
    batch_size: int = 32,
    device: torch.device | str = "cpu",
    workers: int = 0,
) -> Iterator[Prediction | Failure]:
    """Classify files, the images in folders, and what glob patterns match.

    Args:
        model: gives logits (B, classes) for images (B, C, H, W); used in evaluation mode.
        paths: files, folders and patterns; see ``find_images``.
        transform: from a Pillow image to the model's input (C, H, W).
        top_k: classes per image; fewer if the model has fewer.
        batch_size: images per forward pass.
        device: where to compute.
        workers: processes that read images; 0 reads in this one.

    Yields:
        One ``Prediction`` or ``Failure`` per file, in the order found.

    Raises:
        UserError: settings out of range, or outputs of the model that are not finite.
    """
    if top_k < 1 or batch_size < 1 or workers < 0:
        raise UserError(
            f"got top_k {top_k}, batch_size {batch_size}, workers {workers}, "
            "expected at least 1, 1 and 0"
        )
    loader = DataLoader(
        _Reader(transform),
        # Not a Sampler class: any iterable of lists will do, and this one is never held whole.
        batch_sampler=_Batches(find_images(paths), batch_size),  # pyright: ignore
        num_workers=workers,
        collate_fn=_collate,
        generator=torch.Generator(),
    )
    model = model.to(device).eval()
    for entries, images in loader:
        ranked = iter(()) if images is None else _rank(model, images, top_k, device)
        for entry in entries:
            if isinstance(entry, Failure):
                yield entry
            else:
                indices, probabilities = next(ranked)
                if any(value != value for value in probabilities):
                    raise UserError(
                        f"the model's outputs for {entry} are not finite; are the weights damaged?"
                    )
                yield Prediction(path=entry, indices=indices, probabilities=probabilities)


def find_images(paths: Iterable[str | os.PathLike[str]]) -> Iterator[str | Failure]:
    """Find image files, lazily.

    Args:
        paths: a file is taken whatever its name; a folder gives the files below it whose names end
            like an image's, sorted folder by folder (hidden ones are left out); anything else is a
            pattern (``*``, ``?``, ``[..]``, ``**``), matches sorted.

    Yields:
        Paths; a ``Failure`` for a folder without images, a folder that cannot be read, a pattern
        without matches, and a path that is not there.
    """
    for path in (os.fspath(given) for given in paths):
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116 - the string is passed on as it came
        except (OSError, ValueError):
            mode = None
        if mode is not None and stat.S_ISDIR(mode):
            yield from _folder(path)
        elif mode is None and glob.has_magic(path):
            matches = sorted(glob.iglob(path, recursive=True))  # noqa: PTH207
            if not matches:
                yield Failure(path, "no file matches this pattern")
            for match in matches:
                if Path(match).is_dir():
                    # Under ** the folders' files match by themselves.
                    if "**" not in path:
                        yield from _folder(match)
                else:
                    yield match
        else:
            yield path  # also where there is no such file: reading it says so


def _folder(top: str) -> Iterator[str | Failure]:
    found, others, failed = 0, 0, False
    for entry in walk(top):
        if isinstance(entry, Failure):
            failed = True
            yield entry
        elif os.path.splitext(entry)[1].lower() in EXTENSIONS:  # noqa: PTH122
            found += 1
            yield entry
        else:
            others += 1
    if not found and not failed:
        rest = f" ({others} other files)" if others else ""
        yield Failure(top, f"a folder without images{rest}")


@dataclass
class _Batches:
    """Lists of at most ``size`` entries, made as they are asked for."""

    entries: Iterator[str | Failure]
    size: int

    def __iter__(self) -> Iterator[list[str | Failure]]:
        batch: list[str | Failure] = []
        for entry in self.entries:
            batch.append(entry)
            if len(batch) == self.size:
                yield batch
                batch = []
        if batch:
            yield batch


class _Reader(Dataset[Any]):
    """Reads the path it is given in place of an index."""

    def __init__(self, transform: Transform):
        self.transform = transform

    def __getitem__(self, entry: str | Failure) -> tuple[str, Tensor] | Failure:  # pyright: ignore
        if isinstance(entry, Failure):
            return entry
        try:
            return entry, self.transform(read_image(entry))
        except ImageError as error:
            return Failure(entry, error.reason)


def _collate(items: Sequence[Any]) -> tuple[list[str | Failure], Tensor | None]:
    entries = [item if isinstance(item, Failure) else item[0] for item in items]
    images = [item[1] for item in items if not isinstance(item, Failure)]
    return entries, torch.stack(images) if images else None


@torch.inference_mode()
def _rank(
    model: nn.Module, images: Tensor, top_k: int, device: torch.device | str
) -> Iterator[tuple[list[int], list[float]]]:
    probabilities = model(images.to(device)).float().softmax(dim=1)
    best = probabilities.topk(min(top_k, probabilities.shape[1]), dim=1)
    return zip(best.indices.tolist(), best.values.tolist(), strict=True)
