"""Pictures of images with an EXIF orientation, with their objects as training takes them."""

from pathlib import Path

import numpy as np
import torch

from spanetv2.data.images import ImageError
from spanetv2.drawing import save_picture
from spanetv2.tasks.detection.data.image_entries import read_entry
from spanetv2.tasks.detection.data.masks import decode_mask
from spanetv2.tasks.detection.data.survey import Survey
from spanetv2.tasks.detection.picture import draw_objects

__all__ = ["draw_turned"]

_MOST = 3


def draw_turned(survey: Survey, folder: Path, split: str) -> list[Path]:
    """Draw the first images that have both an EXIF orientation and an object.

    Args:
        survey: of the data.
        folder: where the pictures go; it is made where there is one to write.
        split: the first word of their names.

    Returns:
        The pictures, at most three.
    """
    drawn: list[Path] = []
    for key in survey.images.turned_keys:
        entry = survey.images.entries[key]
        objects = [judged for judged in survey.objects[key] if judged.name and not judged.stops]
        if len(drawn) == _MOST or not objects:
            continue
        size = (entry.width, entry.height)
        try:
            image = read_entry(entry.path, size, as_stored=entry.as_stored, reading=survey.reading)
        except ImageError:
            continue  # which is a problem of its own
        boxes = torch.tensor([judged.box for judged in objects], dtype=torch.float32)
        boxes[:, 2:] += boxes[:, :2]
        codes = [[] if judged.mask is None else judged.mask for judged in objects]
        masks = np.stack([decode_mask(code, entry.height, entry.width) for code in codes])
        labels = torch.tensor([survey.classes.index(judged.name) + 1 for judged in objects])
        picture = draw_objects(
            image, boxes, labels, survey.classes, pixels_NHW=torch.from_numpy(masks)
        )
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{split}-{len(drawn) + 1}-{Path(entry.path).stem}.png"
        save_picture(picture, path)
        drawn.append(path)
    return drawn
