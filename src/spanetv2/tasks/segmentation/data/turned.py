"""Pictures of images with an EXIF orientation, under their masks as training takes them."""

from pathlib import Path

import numpy as np
from PIL import Image

from spanetv2.data.header import ImageHeader, read_headers
from spanetv2.data.images import ImageError
from spanetv2.drawing import save_picture
from spanetv2.tasks.segmentation.data.source import PairSource
from spanetv2.tasks.segmentation.picture import overlay, with_legend

__all__ = ["draw_turned"]

_MOST = 3
_SIDE = 1600


def draw_turned(source: PairSource, folder: Path, split: str) -> list[Path]:
    """Draw the first images that have an EXIF orientation, with the colours of their masks.

    Args:
        source: the split, whose orientation is settled.
        folder: where the pictures go; it is made where there is one to write.
        split: the first word of their names.

    Returns:
        The pictures, at most three.
    """
    drawn: list[Path] = []
    headers = read_headers([pair.image for pair in source.pairs], max_pixels=source.max_pixels)
    turned = [
        index
        for index, header in enumerate(headers)
        if isinstance(header, ImageHeader) and header.orientation > 1
    ]
    for index in turned:
        if len(drawn) == _MOST:
            break
        try:
            image, labels = source.read(index)
        except ImageError:
            continue  # which is a problem of its own
        image.thumbnail((_SIDE, _SIDE))
        mask = Image.fromarray(labels).resize(image.size, Image.Resampling.NEAREST)
        labels = np.array(mask)
        picture = overlay(image, labels, source.palette)
        picture = with_legend(picture, labels, source.classes, source.palette)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{split}-{len(drawn) + 1}-{Path(source.location(index)).stem}.png"
        save_picture(picture, path)
        drawn.append(path)
    return drawn
