"""Small data sets as other people's tools write them: leaves and stones in 96 x 64 pixels."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from coco_data import annotation
from PIL import Image

WIDTH, HEIGHT = 96, 64
LEAF, STONE = 1, 2
CATEGORIES = [{"id": LEAF, "name": "leaf"}, {"id": STONE, "name": "stone"}]
COLOURS = {LEAF: (40, 200, 40), STONE: (200, 60, 60)}

# Boxes of each image: (category, left, top, right, bottom).
TRAIN = [
    [(LEAF, 14, 12, 42, 33), (STONE, 47, 1, 68, 15)],
    [(LEAF, 22, 35, 44, 54), (STONE, 63, 30, 86, 44)],
]
VAL = [[(LEAF, 13, 9, 35, 31), (STONE, 68, 15, 95, 33)]]

Record = dict[str, list[Any]]
Change = Callable[[Record, str], None]
"""Makes a record (and the split it is of) what some tool would have written."""


def record_of(images: list[list[tuple[int, ...]]]) -> Record:
    """A sound record."""
    made: Record = {"images": [], "annotations": [], "categories": copy.deepcopy(CATEGORIES)}
    for own, objects in enumerate(images, start=1):
        name = f"{own:04d}.jpg"
        made["images"].append({"id": own, "file_name": name, "width": WIDTH, "height": HEIGHT})
        for category, *box in objects:
            made["annotations"].append(annotation(len(made["annotations"]) + 1, own, category, box))
    return made


def picture_of(objects: list[tuple[int, ...]]) -> Image.Image:
    """An image with its objects in colours."""
    pixels = np.random.default_rng(0).integers(90, 140, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for category, left, top, right, bottom in objects:
        pixels[top:bottom, left:right] = COLOURS[category]
    return Image.fromarray(pixels)


def write_set(
    root: Path,
    change: Change | None = None,
    *,
    save: Callable[[Image.Image, Path], None] | None = None,
) -> Path:
    """Write a data set in COCO's layout, with two images to train on and one held out.

    Args:
        root: its folder.
        change: what is different about the records.
        save: writes an image.
    """
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split, images in (("train", TRAIN), ("val", VAL)):
        (root / split).mkdir(exist_ok=True)
        for own, objects in enumerate(images, start=1):
            path = root / split / f"{own:04d}.jpg"
            picture = picture_of(objects)
            if save is None:
                picture.save(path, quality=95)
            else:
                save(picture, path)
        made = record_of(images)
        if change is not None:
            change(made, split)
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(made))
    return root
