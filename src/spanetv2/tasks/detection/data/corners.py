"""Telling boxes that are written as corners from those written as a corner and a size."""

from collections.abc import Mapping, Sequence
from typing import Any

from spanetv2.tasks.detection.data.image_entries import ImageEntry
from spanetv2.tasks.detection.data.numbers import LARGEST, is_number

__all__ = ["look_like_corners"]

_MOST = 2000
"""Annotations that are looked at, evenly over all."""

_CLEAR = 2.0
"""Pixels by which one reading must fit better than the other."""

_OUTSIDE = 1.0


def look_like_corners(pairs: Sequence[tuple[Mapping[str, Any], ImageEntry]]) -> bool:
    """Whether the boxes of a data set make sense only as corners.

    Each box votes for the reading that fits its polygon, its area, or the image; nearly all votes
    must agree.

    Args:
        pairs: annotations whose box is four numbers, and their sound images.
    """
    looked = pairs[:: -(-len(pairs) // _MOST)] if pairs else []
    votes = [_vote(annotation, image) for annotation, image in looked]
    for_corners, for_sizes = votes.count(True), votes.count(False)
    return for_corners >= 2 and for_corners >= 0.9 * (for_corners + for_sizes)


def _vote(annotation: Mapping[str, Any], image: ImageEntry) -> bool | None:
    """True for corners, False for sizes, None where nothing tells."""
    left, top, a, b = annotation["bbox"]
    if a <= left or b <= top:
        return False
    as_sizes, as_corners = (left, top, left + a, top + b), (left, top, a, b)
    extent = _extent(annotation.get("segmentation"))
    if extent is not None:
        misfits = [
            max(abs(x - y) for x, y in zip(box, extent, strict=True))
            for box in (as_sizes, as_corners)
        ]
        if abs(misfits[0] - misfits[1]) <= _CLEAR:
            return None
        return misfits[1] < misfits[0]
    width, height = image.written or (image.width, image.height)
    outside = [max(box[2] - width, box[3] - height) > _OUTSIDE for box in (as_sizes, as_corners)]
    if outside[0] != outside[1]:
        return outside[0]
    area = annotation.get("area")
    if area is None or not is_number(area, LARGEST**2) or area <= 0:
        return None
    fits = [abs(area - w * h) <= 0.02 * w * h for w, h in ((a, b), (a - left, b - top))]
    return fits[1] if fits[0] != fits[1] else None


def _extent(segmentation: Any) -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom of polygons' corners."""
    if not isinstance(segmentation, list):
        return None
    try:
        columns = [x for polygon in segmentation for x in polygon[0::2]]
        rows = [y for polygon in segmentation for y in polygon[1::2]]
        extent = min(columns), min(rows), max(columns), max(rows)
    except (TypeError, ValueError):  # no polygon, or a broken one
        return None
    return extent if all(map(is_number, extent)) else None
