"""What becomes of an annotation, and why: the one place where that is decided.

Training, evaluation and check-data all ask here.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from spanetv2.tasks.detection.data.ids import OwnId, id_key
from spanetv2.tasks.detection.data.image_entries import ImageEntry
from spanetv2.tasks.detection.data.masks import (
    decode_mask,
    has_mask,
    mask_fault,
    measure_mask,
    scaled_mask,
)
from spanetv2.tasks.detection.data.numbers import LARGEST, is_number, shown
from spanetv2.tasks.detection.data.reading import Reading
from spanetv2.tasks.detection.data.record import Categories, Effect, unknown_class

__all__ = ["CROWDS", "NO_BOX", "NO_PIXEL", "Finding", "Judged", "box_fault", "judge", "pixel_box"]

CROWDS = "crowds"
NO_BOX = "boxes outside the image or without area"
NO_PIXEL = "masks without a pixel in their box"

# A mask misses its box where the two overlap less than this, and by more than so many pixels.
_OVERLAP, _APART = 0.5, 2.0
# Boxes may reach outside by this much: half-pixel conventions differ.
_OUTSIDE = 1.0
_LARGEST_AREA = LARGEST**2


class Finding(NamedTuple):
    """Something to say about an annotation."""

    effect: Effect
    kind: str
    """what is the same for all findings like this one"""
    reason: str


@dataclass(slots=True, kw_only=True)
class Judged:
    """An annotation, and what becomes of it.

    Args:
        own_id: its id.
        name: its class; "" where that is not known.
        box: left, top, width and height in pixels.
        area: in square pixels.
        crowd: whether it marks a place with many objects rather than one.
        mask: its code, for an image of the entry's size; None where it has none.
        findings: all that is to be said.
        left_out: why training goes without it, in the words it is counted by; "" where it does not.
        makes_image: whether its image has something to train on because of it.
    """

    own_id: OwnId
    name: str = ""
    box: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    area: float = 0.0
    crowd: bool = False
    mask: Any = None
    findings: list[Finding] = field(default_factory=list)
    left_out: str = ""
    makes_image: bool = False

    @property
    def stops(self) -> bool:
        """Whether the data are refused because of it."""
        return any(finding.effect == "stops" for finding in self.findings)

    def leave_out(self, kind: str, reason: str) -> None:
        """Let training go without it."""
        self.left_out = kind
        self.findings.append(Finding("left out", kind, reason))

    def keep(self, kind: str, reason: str) -> None:
        """Say something about it, no more."""
        self.findings.append(Finding("kept", kind, reason))


def judge(
    annotation: Mapping[str, Any],
    image: ImageEntry,
    *,
    categories: Categories,
    known: Collection[str],
    reading: Reading,
) -> Judged:
    """Decide what becomes of an annotation.

    Args:
        annotation: an entry of the file, with an id.
        image: its image; with a fault, nothing is said about places in it.
        categories: of the file.
        known: names of the classes; asked for each annotation, so better no list.
        reading: what the user says about the data.
    """
    judged = Judged(own_id=annotation["id"])
    judged.findings += _form_faults(annotation, judged, categories, known)
    if judged.stops:
        return judged
    judged.crowd = bool(annotation.get("iscrowd") or 0)
    mask = annotation.get("segmentation") if reading.masks else None
    judged.mask = mask = mask if has_mask(mask) else None
    if image.fault is not None:
        return judged
    left, top, width, height = annotation["bbox"]
    if reading.boxes == "corners":
        width, height = width - left, height - top
    area = annotation.get("area")
    area = width * height if area is None else area
    frame = (image.width, image.height)
    written = image.written or frame
    if mask is not None and (reason := mask_fault(mask, written[1], written[0])) is not None:
        judged.findings.append(Finding("stops", "masks that cannot be read", reason))
        return judged
    if image.written is not None:
        across, down = frame[0] / written[0], frame[1] / written[1]
        left, top, width, height = left * across, top * down, width * across, height * down
        area *= across * down
        mask = None if mask is None else scaled_mask(mask, written, frame)
    if mask is None and not judged.crowd and area <= 0 < min(width, height):
        judged.keep("areas of 0, taken from the box", f"area {area:g}, taken from the box")
        area = width * height
    judged.box, judged.area, judged.mask = (left, top, width, height), area, mask
    _judge_place(judged, image)
    return judged


def box_fault(box: Sequence[float], image: ImageEntry, *, area: float | None = None) -> str | None:
    """Say why training cannot use a box.

    Args:
        box: left, top, width, height in pixels.
        image: its image.
        area: of the object.

    Returns:
        The reason, or None.
    """
    left, top, width, height = box
    if width < 1 or height < 1:
        return f"box of {width:g} x {height:g} pixels, expected at least 1 x 1"
    inside_x = min(left + width, image.width) - max(left, 0)
    inside_y = min(top + height, image.height) - max(top, 0)
    if inside_x < 1 or inside_y < 1:
        place = [left, top, width, height]
        return f"box outside the image: {place} in {image.width} x {image.height} pixels"
    if area is not None and area <= 0:
        return f"area {area:g}, expected more than 0"
    return None


def pixel_box(corners: Sequence[float]) -> tuple[int, int, int, int]:
    """The pixels whose centres lie in a box: first and last beyond, of columns and of rows.

    A pixel's centre is half a pixel from its corner.

    Example:
        >>> pixel_box([5.4, 2.4, 7.0, 7.0])
        (5, 2, 7, 7)
    """
    left, top, right, bottom = (
        math.floor(np.float32(value) + np.float32(0.5)) for value in corners
    )
    return left, top, right, bottom


def _judge_place(judged: Judged, image: ImageEntry) -> None:
    """Where the object lies, and whether something of it is left in the image."""
    if judged.crowd:
        judged.left_out = CROWDS
        return
    reason = box_fault(judged.box, image, area=judged.area)
    if reason is not None:
        judged.leave_out(NO_BOX, reason)
        return
    judged.makes_image = True
    left, top, width, height = judged.box
    outside = max(-left, -top, left + width - image.width, top + height - image.height)
    if outside > _OUTSIDE:
        reason = f"box reaches {outside:g} pixels outside the image, which are cut off"
        judged.keep("boxes that reach outside the image", reason)
    # From here on in the numbers that training computes with.
    corners = np.array([left, top, left + width, top + height], dtype=np.float64)
    cut = np.clip(
        corners.astype(np.float32), 0, np.array([image.width, image.height] * 2, np.float32)
    )
    if (cut[2:] - cut[:2] < 1).any():
        judged.leave_out(NO_BOX, "box with a side below 1 pixel in the image")
    elif judged.mask is not None:
        _judge_mask(judged, image, [float(value) for value in cut])


def _judge_mask(judged: Judged, image: ImageEntry, cut: Sequence[float]) -> None:
    code = judged.mask
    measure = measure_mask(code, image.height, image.width)
    if measure is None:
        judged.leave_out(NO_PIXEL, "mask without a pixel")
        return
    if isinstance(code, list) and (short := sum(len(polygon) < 6 for polygon in code)):
        reason = f"{short} of {len(code)} polygons with fewer than 3 points, which add nothing"
        judged.keep("polygons with fewer than 3 points", reason)
    left, top, width, height = judged.box
    box = (left, top, left + width, top + height)
    extent = measure.extent
    place = [round(value, 2) for value in box]
    spans = f"it spans {list(extent)}, the box {place}"
    if not _has_pixel(code, measure, pixel_box(cut), image):
        judged.leave_out(NO_PIXEL, f"mask misses its box: {spans}")
    elif _overlap(box, extent) < _OVERLAP and _apart(box, extent) > _APART:
        judged.keep("masks that fit their box badly", f"mask fits its box badly: {spans}")


def _has_pixel(code: Any, measure: Any, box: tuple[int, int, int, int], image: ImageEntry) -> bool:
    """Whether a mask has a pixel in a box; it is drawn only where nothing else tells."""
    extent = measure.extent
    across = min(extent[2], box[2]) - max(extent[0], box[0])
    down = min(extent[3], box[3]) - max(extent[1], box[1])
    if across <= 0 or down <= 0:
        return False
    beyond = (extent[2] - extent[0]) * (extent[3] - extent[1]) - across * down
    if measure.area > beyond:  # there is no room for all of it elsewhere
        return True
    mask_HW = decode_mask(code, image.height, image.width)
    return bool(mask_HW[box[1] : box[3], box[0] : box[2]].any())


def _form_faults(
    annotation: Mapping[str, Any], judged: Judged, categories: Categories, known: Collection[str]
) -> Iterator[Finding]:
    """What makes an annotation unreadable; sets its class."""
    key = id_key(annotation.get("category_id"))
    if key is not None and key in categories.by_key:
        name = categories.by_key[key].name
        if name in known:
            judged.name = name
        else:
            yield Finding("stops", f"category {name!r}", unknown_class(name, list(known)))
    elif not categories.faults:  # which may hide the one that is meant
        got = annotation.get("category_id")
        reason = f"category_id {shown(got)}, which no category has"
        yield Finding("stops", "category_id without a category", reason)
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        reason = f"bbox {shown(box)}, expected four finite numbers: left, top, width, height"
        yield Finding("stops", "boxes that are not four numbers", reason)
    if annotation.get("iscrowd") not in (0, 1, None):
        reason = f"iscrowd {shown(annotation['iscrowd'])}, expected 0 or 1"
        yield Finding("stops", "iscrowd that is not 0 or 1", reason)
    if annotation.get("area") is not None and not is_number(annotation["area"], _LARGEST_AREA):
        reason = f"area {shown(annotation['area'])}, expected a finite number"
        yield Finding("stops", "areas that are not numbers", reason)


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes: left, top, right, bottom."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    if min(across, down) <= 0:
        return 0.0
    both = across * down
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)


def _apart(one: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
