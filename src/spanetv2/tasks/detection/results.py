"""Detections in COCO's results format: what its servers and tools read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torchvision.ops import box_convert

from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.ids import OwnId
from spanetv2.tasks.detection.metrics import Found

__all__ = ["coco_results"]


def coco_results(
    found: Found,
    image_id: OwnId,
    category_ids: Sequence[OwnId | None],
    **more: Any,
) -> list[dict[str, Any]]:
    """One image's detections.

    Args:
        found: detections; label k is the k-th category.
        image_id: the image's id in its annotations.
        category_ids: the categories' ids in the annotations; detections of a category without an
            id are left out.
        **more: further values to put into each.

    Returns:
        For each detection ``image_id``, ``category_id``, ``bbox`` (left, top, width, height in
        pixels), ``score`` and, if there are masks, ``segmentation`` as run lengths.

    Raises:
        UserError: a label beyond the categories.
    """
    if len(found.labels) and int(found.labels.max()) > len(category_ids):
        raise UserError(
            f"got label {int(found.labels.max())}, expected at most {len(category_ids)}"
        )
    results = []
    boxes = box_convert(found.boxes, "xyxy", "xywh").tolist()
    rows = zip(boxes, found.labels.tolist(), found.scores.tolist(), strict=True)
    for i, (box, label, score) in enumerate(rows):
        category = category_ids[label - 1]
        if category is None:
            continue
        row: dict[str, Any] = {
            "image_id": image_id,
            **more,
            "category_id": category,
            "bbox": [_short(value) for value in box],
            "score": _short(score),
        }
        if found.masks is not None:
            row["segmentation"] = dict(found.masks[i])
        results.append(row)
    return results


def _short(value: float) -> float:
    """The shortest decimal number that is the same in float32."""
    return float(str(np.float32(value)))
