"""The value of white in grey images of more than 8 bits, one for a whole data set."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from spanetv2.data.header import ImageHeader, read_headers, shows_progress
from spanetv2.data.images import (
    EIGHT_BIT_EXTENSIONS,
    WHITES,
    check_file,
    is_deep,
    open_image,
    opening,
)

__all__ = ["deep_images", "find_white", "white_line"]


def deep_images(
    paths: Sequence[str], *, max_pixels: int | None = None, progress: bool = False
) -> list[str]:
    """Those of some image files that are grey with more than 8 bits.

    Files whose names end like a format of 8 bits are not opened.

    Args:
        paths: the files.
        max_pixels: most pixels of an image; None is Pillow's limit.
        progress: show a bar on a terminal.
    """
    looked_at = [
        path
        for path in paths
        if os.path.splitext(path)[1].lower() not in EIGHT_BIT_EXTENSIONS  # noqa: PTH122
    ]
    headers = read_headers(looked_at, max_pixels=max_pixels, progress=progress)
    return [
        path
        for path, header in zip(looked_at, headers, strict=True)
        if isinstance(header, ImageHeader) and is_deep(header.mode)
    ]


def white_line(count: int, white: int | None, *, option: str) -> str:
    """What to say about grey images of more than 8 bits.

    Example:
        >>> white_line(1200, 4095, option="preprocessing.white")
        '1,200 grey images of more than 8 bits: white is 4095 (preprocessing.white)'
    """
    return f"{count:,} grey images of more than 8 bits: white is {white} ({option})"


def find_white(
    paths: Sequence[str | os.PathLike[str]],
    *,
    max_pixels: int | None = None,
    progress: bool = False,
) -> int | None:
    """The smallest usual value of white that holds all pixels of some images.

    Cameras and scanners write 10, 12 or 14 bits into files of 16. A white of each image's own would
    make a dark image look like a bright one, so it is one for all.

    Args:
        paths: the images of a training set that have more than 8 bits.
        max_pixels: most pixels of an image; None is Pillow's limit.
        progress: show a bar on a terminal.

    Returns:
        255, 1023, 4095, 16383 or 65535; None where there is no image.

    Raises:
        ImageError: one cannot be read.
    """
    highest = 0
    hidden = not (progress and shows_progress())
    for path in tqdm(paths, unit="image", desc="white", disable=hidden, delay=2, leave=False):
        name = os.fspath(path)
        with opening(name, max_pixels=max_pixels):
            check_file(Path(path), name)
            with open_image(path) as opened:
                highest = max(highest, int(np.asarray(opened).max(initial=0)))
        if highest > WHITES[-2]:
            break
    if not paths:
        return None
    return next((white for white in WHITES if highest <= white), WHITES[-1])
