"""Small COCO data sets for the tests, written as a user's would be."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# Pixels as (left, top, right, bottom).
SQUARE = (10, 20, 30, 50)


def rectangle(left: int, top: int, right: int, bottom: int) -> list[list[float]]:
    """The polygon whose pixels are those of the box."""
    return [[left, top, right, top, right, bottom, left, bottom]]


def runs(mask: np.ndarray) -> dict[str, Any]:
    """Uncompressed run lengths, counted pixel by pixel."""
    counts, value = [0], False
    for pixel in mask.T.ravel().astype(bool).tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return {"size": list(mask.shape), "counts": counts}


def rectangle_mask(height: int, width: int, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def annotation(own: int, image: int, category: int, box: Any, **more: Any) -> dict[str, Any]:
    left, top, right, bottom = box
    return {
        "id": own,
        "image_id": image,
        "category_id": category,
        "bbox": [left, top, right - left, bottom - top],
        "area": (right - left) * (bottom - top),
        "iscrowd": 0,
        "segmentation": rectangle(*box),
        **more,
    }


def record() -> dict[str, Any]:
    """Four images: with two objects, with one and a crowd, empty, and too small to train on.

    Category ids have gaps and are not in order.
    """
    crowd = rectangle_mask(48, 100, (0, 0, 100, 24))
    return {
        "images": [
            {"id": 7, "file_name": "two.png", "width": 80, "height": 64},
            {"id": 3, "file_name": "crowd.png", "width": 100, "height": 48},
            {"id": 11, "file_name": "empty.png", "width": 40, "height": 90},
            {"id": 5, "file_name": "small.png", "width": 20, "height": 20},
        ],
        "annotations": [
            annotation(100, 7, 90, SQUARE),
            annotation(40, 3, 2, (60, 8, 90, 40)),
            annotation(
                101,
                7,
                17,
                (40, 5, 70, 60),
                segmentation=runs(rectangle_mask(64, 80, (40, 5, 70, 60))),
            ),
            annotation(41, 3, 90, (0, 0, 100, 24), iscrowd=1, segmentation=runs(crowd)),
            annotation(50, 5, 2, (2, 2, 12, 12)),
        ],
        "categories": [
            {"id": 90, "name": "toothbrush"},
            {"id": 2, "name": "bicycle"},
            {"id": 17, "name": "cat"},
        ],
    }


def write(folder: Path, made: dict[str, Any] | None = None, *, images: bool = True) -> Path:
    """Write ``annotations.json`` and ``images/`` into a folder; every image has its own pixels."""
    made = copy.deepcopy(record()) if made is None else made
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "annotations.json").write_text(json.dumps(made))
    if images:
        for place, image in enumerate(made["images"]):
            pixels = np.random.default_rng(place).integers(
                0, 256, (image["height"], image["width"], 3), dtype=np.uint8
            )
            Image.fromarray(pixels).save(folder / "images" / image["file_name"])
    return folder
