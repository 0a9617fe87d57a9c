"""The value of white in grey images of more than 8 bits, one for a whole data set."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from spanetv2.data.images import WHITES, check_file, known_formats, opening

__all__ = ["find_white"]


def find_white(
    paths: Sequence[str | os.PathLike[str]], *, max_pixels: int | None = None
) -> int | None:
    """The smallest usual value of white that holds all pixels of some images.

    Cameras and scanners write 10, 12 or 14 bits into files of 16. A white of each image's own would
    make a dark image look like a bright one, so it is one for all.

    Args:
        paths: the images of a training set that have more than 8 bits.
        max_pixels: most pixels of an image; None is Pillow's limit.

    Returns:
        255, 1023, 4095, 16383 or 65535; None where there is no image.

    Raises:
        ImageError: one cannot be read.
    """
    highest = 0
    for path in paths:
        name = os.fspath(path)
        with opening(name, max_pixels=max_pixels):
            check_file(Path(path), name)
            with Image.open(path, formats=known_formats()) as opened:
                highest = max(highest, int(np.asarray(opened).max(initial=0)))
        if highest > WHITES[-2]:
            break
    if not paths:
        return None
    return next((white for white in WHITES if highest <= white), WHITES[-1])
