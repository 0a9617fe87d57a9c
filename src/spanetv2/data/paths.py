"""Image files by paths, folders and patterns, however many and whatever state they are in.

Paths are found while images are read and read while the caller computes, so memory depends on the
batch size and the largest folder listing, not on the number of files.
"""

import glob
import itertools
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from spanetv2.data.images import (
    EXTENSIONS,
    UNREAD_EXTENSIONS,
    Failure,
    ImageError,
    unread_reason,
)
from spanetv2.data.loader import ImageLoader
from spanetv2.data.walk import is_folder, walk

__all__ = ["Chosen", "find_images", "images_among", "path_batches"]

Chosen = Callable[[int, list[str | Failure]], bool]
"""Whether a batch is to be read: of its number from 0, and the files in it."""


def find_images(paths: Iterable[str | os.PathLike[str]]) -> Iterator[str | Failure]:
    """Find image files, lazily.

    Args:
        paths: a file is taken whatever its name; a folder gives the files below it whose names end
            like an image's, sorted folder by folder (hidden ones are left out); anything else is a
            pattern (``*``, ``?``, ``[..]``, ``**``), matches sorted.

    Yields:
        Paths; a ``Failure`` for a picture of a kind that is not read, a folder without images,
        a folder that cannot be read, a pattern without matches, and a path that is not there.
    """
    for path in (os.fspath(given) for given in paths):
        try:
            mode = os.stat(path).st_mode  # noqa: PTH116 - the string is passed on as it came
        except (OSError, ValueError):
            mode = None
        if mode is not None and stat.S_ISDIR(mode):
            yield from images_among(path, walk(path))
        elif mode is None and glob.has_magic(path):
            matches = sorted(glob.iglob(path, recursive=True))  # noqa: PTH207
            if not matches:
                yield Failure(path, "no file matches this pattern")
            for match in matches:
                if is_folder(Path(match)):
                    # Under ** the folders' files match by themselves.
                    if "**" not in path:
                        yield from images_among(match, walk(match))
                else:
                    yield match
        else:
            yield path  # also where there is no such file: reading it says so


def path_batches(
    paths: Iterable[str | os.PathLike[str]],
    *,
    read: Callable[[str], Any],
    batch_size: int,
    workers: int = 0,
    chosen: Chosen | None = None,
) -> Iterator[list[tuple[str, Any] | Failure]]:
    """Read the files that ``find_images`` finds, a batch at a time, in the order found.

    Args:
        paths: files, folders and patterns.
        read: from a path to anything; may raise ``ImageError``. With workers it must be picklable.
        batch_size: entries per batch.
        workers: processes that read; 0 reads in this one.
        chosen: asked about each batch in turn whether it is to be read; all are by default.

    Yields:
        Lists of (path, what was read), or a ``Failure`` in its place.
    """
    loader = ImageLoader(
        _Reader(read),
        # Not a Sampler class: any iterable of lists will do, and this one is never held whole.
        batch_sampler=_Batches(find_images(paths), batch_size, chosen),  # pyright: ignore
        num_workers=workers,
        collate_fn=list,
        generator=torch.Generator(),
    )
    yield from loader


def images_among(top: str, entries: Iterable[str | Failure]) -> Iterator[str | Failure]:
    """The images of a folder.

    Args:
        top: the folder.
        entries: what is in it, as ``walk`` says it.

    Yields:
        The images, in order; a ``Failure`` for what cannot be read, and for a folder without any.
    """
    found, others, failed = 0, 0, False
    for entry in entries:
        if isinstance(entry, Failure):
            failed = True
            yield entry
        elif os.path.splitext(entry)[1].lower() in EXTENSIONS:  # noqa: PTH122
            found += 1
            yield entry
        elif (ending := os.path.splitext(entry)[1]).lower() in UNREAD_EXTENSIONS:  # noqa: PTH122
            failed = True
            yield Failure(entry, unread_reason(ending))
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
    chosen: Chosen | None

    def __iter__(self) -> Iterator[list[str | Failure]]:
        for number in itertools.count():
            batch = list(itertools.islice(self.entries, self.size))
            if not batch:
                return
            if self.chosen is None or self.chosen(number, batch):
                yield batch


class _Reader(Dataset[Any]):
    """Reads the path it is given in place of an index."""

    def __init__(self, read: Callable[[str], Any]):
        self.read = read

    def __getitem__(self, entry: str | Failure) -> tuple[str, Any] | Failure:  # pyright: ignore
        if isinstance(entry, Failure):
            return entry
        try:
            return entry, self.read(entry)
        except ImageError as error:
            return Failure(entry, error.reason)
