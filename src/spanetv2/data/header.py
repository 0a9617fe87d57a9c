"""The headers of image files: size, orientation and kind of pixel, without decoding a pixel."""

import os
import struct
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from tqdm import tqdm

from spanetv2.data.images import ImageError, check_file, image_orientation, open_image, opening

__all__ = ["SIDEWAYS", "ImageHeader", "read_headers", "shows_progress"]

SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations in which width and height of the image as shown are exchanged."""

_THREADS = 8


class ImageHeader(NamedTuple):
    """What the header of an image file says."""

    width: int
    """columns of pixels as they are stored"""
    height: int
    """rows of pixels as they are stored"""
    mode: str
    """Pillow's name of the kind of pixel"""
    orientation: int
    """EXIF's: 1 is upright, 2 to 8 say how to turn and mirror the pixels before showing them"""

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height of the pixels in the file."""
        return self.width, self.height

    @property
    def shown(self) -> tuple[int, int]:
        """Width and height of the image as programs show it."""
        sideways = self.orientation in SIDEWAYS
        return (self.height, self.width) if sideways else (self.width, self.height)


def read_headers(
    paths: Sequence[str | os.PathLike[str]],
    *,
    max_pixels: int | None = None,
    progress: bool = False,
) -> Iterator[ImageHeader | ImageError]:
    """Read headers in order, several files at a time.

    Args:
        paths: the files.
        max_pixels: most pixels of an image; None is Pillow's limit.
        progress: show a bar on a terminal, where it takes more than two seconds.

    Yields:
        The header, or what is wrong with the file.
    """

    def read(path: str | os.PathLike[str]) -> ImageHeader | ImageError:
        try:
            check_file(Path(path), os.fspath(path))
            # Warnings are turned into errors for all threads at once, around them.
            with (
                opening(os.fspath(path), max_pixels=max_pixels, quiet=False),
                open_image(path) as opened,
            ):
                return _header(opened, Path(path))
        except ImageError as error:
            return error

    with (
        opening("image headers", max_pixels=max_pixels),
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        bar = tqdm(
            pool.map(read, paths),
            total=len(paths),
            unit="image",
            desc="headers",
            disable=not (progress and shows_progress()),
            delay=2,
            leave=False,
        )
        found = list(bar)
    yield from found  # outside, where warnings are as they were


def shows_progress() -> bool:
    """Whether a bar belongs on standard error: on a terminal, and from one process of a run."""
    first = os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")) == "0"
    return first and sys.stderr.isatty()


def _header(opened: Image.Image, path: Path) -> ImageHeader:
    width, height = opened.size
    orientation = _orientation(opened, path)
    return ImageHeader(width, height, opened.mode, orientation)


def _orientation(opened: Image.Image, path: Path) -> int:
    """EXIF's orientation; Pillow decodes a whole PNG to look for a note behind its pixels."""
    return 1 if opened.format == "PNG" and not _png_has_notes(path) else image_orientation(opened)


def _png_has_notes(path: Path) -> bool:
    """Whether a PNG has a chunk that can hold an orientation."""
    with path.open("rb") as stream:
        stream.seek(8)
        while len(head := stream.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind in (b"eXIf", b"tEXt", b"zTXt", b"iTXt"):
                return True
            stream.seek(length + 4, os.SEEK_CUR)
    return False
