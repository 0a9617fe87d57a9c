"""A scene's annotations in the words of ADE20K and COCO."""

from typing import Any

import numpy as np
from PIL import Image

from spanetv2.scenes.compose import Scene
from spanetv2.scenes.material import CLASSES

__all__ = ["ade_labels", "coco_annotations", "coco_categories", "run_lengths"]


def ade_labels(scene: Scene) -> Image.Image:
    """Label image as in ADE20K: grey, 0 for no label (which no pixel has), k + 1 for class k."""
    return Image.fromarray(scene.labels + np.uint8(1))


def coco_categories() -> list[dict[str, Any]]:
    """The ten digits; the category of digit d has the id d + 1."""
    return [
        {"id": index, "name": name, "supercategory": "digit"}
        for index, name in enumerate(CLASSES)
        if index > 0
    ]


def coco_annotations(scene: Scene, *, image_id: int, first_id: int) -> list[dict[str, Any]]:
    """One annotation per instance; box and area are those of the pixels that are seen.

    Args:
        scene: the scene.
        image_id: the id of its image.
        first_id: the id of the first annotation; the others follow.
    """
    found = []
    for place, (digit, mask_HW) in enumerate(scene.instances):
        rows, columns = np.flatnonzero(mask_HW.any(1)), np.flatnonzero(mask_HW.any(0))
        top, left = int(rows[0]), int(columns[0])
        found.append(
            {
                "id": first_id + place,
                "image_id": image_id,
                "category_id": digit + 1,
                "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
                "area": int(mask_HW.sum()),
                "iscrowd": 0,
                "segmentation": {
                    "size": list(mask_HW.shape),
                    "counts": run_lengths(mask_HW),
                },
            }
        )
    return found


def run_lengths(mask_HW: np.ndarray) -> list[int]:
    """COCO's uncompressed code of a mask: lengths of runs down the columns, the first of zeros.

    Args:
        mask_HW: bool.

    Example:
        >>> run_lengths(np.array([[True, False], [True, True]]))
        [0, 2, 1, 1]
        >>> run_lengths(np.zeros((2, 2), dtype=bool))
        [4]
    """
    flat = mask_HW.ravel(order="F")
    starts = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff([0, *starts.tolist(), flat.size]).tolist()
    return [0, *lengths] if flat[0] else lengths
