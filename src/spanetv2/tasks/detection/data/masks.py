"""COCO's three codes of a mask: polygons, run lengths as a list, run lengths as text.

Polygons are filled by faster-coco-eval's code, which is COCO's own rule. Run lengths are read here:
a broken code must be told apart from a mask, and that needs the lengths anyway.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from spanetv2.tasks.detection.data.numbers import shown

__all__ = [
    "MaskMeasure",
    "decode_mask",
    "has_mask",
    "mask_fault",
    "measure_mask",
    "scaled_mask",
    "text_run_lengths",
]


def mask_fault(segmentation: Any, height: int, width: int) -> str | None:
    """Say what is wrong with the code of a mask.

    A polygon of one or two points is no fault: it draws nothing, as does an empty list.

    Args:
        segmentation: as in the annotation.
        height: of the image in pixels.
        width: of the image in pixels.

    Returns:
        The reason, or None where ``decode_mask`` can read it.

    Example:
        >>> mask_fault([[0, 0, 4, 0, 4, 4]], 8, 8)
        >>> mask_fault([[0, 0, 4, 0, 4]], 8, 8)
        'polygon of 5 numbers, expected x and y of each point'
        >>> mask_fault({"size": [8, 8], "counts": [3, 4]}, 8, 8)
        'run lengths of 7 pixels in all, expected 8 x 8 = 64'
    """
    if isinstance(segmentation, Mapping):
        return _code_fault(segmentation, height, width)
    if not isinstance(segmentation, Sequence) or isinstance(segmentation, str):
        return "no mask: expected polygons, or run lengths with size and counts"
    for polygon in segmentation:
        if not isinstance(polygon, Sequence) or isinstance(polygon, str):
            return "polygon that is not a list of numbers"
        if len(polygon) % 2:
            return f"polygon of {len(polygon)} numbers, expected x and y of each point"
        if not _is_finite(polygon):
            return "polygon with something else than finite numbers"
    return None


def decode_mask(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Draw a mask.

    Args:
        segmentation: polygons, whose union it is, or run lengths, as a list or as text.
        height: of the image in pixels.
        width: of the image in pixels.

    Returns:
        (H, W) uint8 of 0 and 1.

    Raises:
        ValueError: it has a fault (see ``mask_fault``).

    Example:
        >>> decode_mask({"size": [2, 2], "counts": [0, 2, 1, 1]}, 2, 2).tolist()
        [[1, 0], [1, 1]]
    """
    if reason := mask_fault(segmentation, height, width):
        raise ValueError(reason)
    if isinstance(segmentation, Mapping):
        lengths = _run_lengths(segmentation["counts"])
        values = (np.arange(len(lengths)) % 2).astype(np.uint8)
        return np.repeat(values, lengths).reshape(width, height).T
    if not (shapes := _with_area(segmentation)):
        return np.zeros((height, width), dtype=np.uint8)
    from faster_coco_eval.core import mask as coco

    return np.ascontiguousarray(coco.decode(_filled(shapes, height, width)))


class MaskMeasure(NamedTuple):
    """Where the pixels of a mask are."""

    extent: tuple[int, int, int, int]
    """left, top, right and bottom (the first pixel beyond)"""
    area: int
    """number of pixels"""


def measure_mask(segmentation: Any, height: int, width: int) -> MaskMeasure | None:
    """Extent and area of a mask; None if it has no pixel.

    Much faster than drawing it. The code must have no fault (see ``mask_fault``).

    Example:
        >>> measure_mask({"size": [4, 4], "counts": [5, 2, 9]}, 4, 4)
        MaskMeasure(extent=(1, 1, 2, 3), area=2)
    """
    if isinstance(segmentation, Mapping):
        lengths = _run_lengths(segmentation["counts"])
        borders = np.cumsum(lengths)
        starts, ends = borders[0:-1:2], borders[1::2]
        starts, ends = starts[starts < ends], ends[starts < ends]
        if not len(starts):
            return None
        first, last = starts // height, (ends - 1) // height
        # A run that goes on in the next column touches the bottom of one and the top of another.
        within = first == last
        top = np.where(within, starts % height, 0).min()
        bottom = np.where(within, (ends - 1) % height, height - 1).max() + 1
        extent = (int(first.min()), int(top), int(last.max()) + 1, int(bottom))
        return MaskMeasure(extent, int(lengths[1::2].sum()))
    if not (shapes := _with_area(segmentation)):
        return None
    from faster_coco_eval.core import mask as coco

    code = _filled(shapes, height, width)
    if not (area := int(coco.area(code))):
        return None
    left, top, across, down = (int(value) for value in coco.toBbox(code))
    return MaskMeasure((left, top, left + across, top + down), area)


def has_mask(segmentation: Any) -> bool:
    """Whether an annotation has a mask at all; tools write the lack of one in several ways.

    Example:
        >>> [has_mask(code) for code in (None, [], [[]], {}, {"size": [4, 4], "counts": []})]
        [False, False, False, False, False]
        >>> has_mask([[0, 0, 4, 0, 4, 4]])
        True
    """
    if isinstance(segmentation, Mapping):
        return bool(segmentation) and segmentation.get("counts") not in ([], "", None)
    if isinstance(segmentation, list):
        return any(part not in ([], None) for part in segmentation)
    return segmentation not in (None, "")


def scaled_mask(segmentation: Any, size: tuple[int, int], wanted: tuple[int, int]) -> Any:
    """A mask for an image of another size.

    Args:
        segmentation: without a fault.
        size: width and height of the image it is for.
        wanted: those of the other image.

    Returns:
        Polygons, or run lengths as a list.

    Example:
        >>> scaled_mask([[0, 0, 4, 0, 4, 2]], (4, 2), (2, 4))
        [[0.0, 0.0, 2.0, 0.0, 2.0, 4.0]]
    """
    scales = (wanted[0] / size[0], wanted[1] / size[1])
    if not isinstance(segmentation, Mapping):
        return [[v * scales[i % 2] for i, v in enumerate(polygon)] for polygon in segmentation]
    mask_HW = decode_mask(segmentation, size[1], size[0])
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(np.int64)
        for new, old in ((wanted[1], size[1]), (wanted[0], size[0]))
    )
    flat = mask_HW[rows][:, columns].T.ravel().astype(np.int8)
    changes = np.flatnonzero(np.diff(flat, prepend=0))
    counts = np.diff(np.concatenate([[0], changes, [len(flat)]])).tolist()
    return {"size": [wanted[1], wanted[0]], "counts": counts}


def text_run_lengths(text: str | bytes) -> np.ndarray:
    """Read run lengths from COCO's text: base 32, least digit first, later ones as differences.

    Args:
        text: characters from ``0`` (48) to ``o`` (111), six bits each: five of a number, and one
            that says that it goes on.

    Returns:
        (N,) int64; nothing is said about their signs or sum.

    Raises:
        ValueError: another character, a number without end, or one of more than 60 bits.

    Example:
        >>> text_run_lengths("02N1").tolist()
        [0, 2, -2, 3]
    """
    raw = text.encode("utf-8") if isinstance(text, str) else text
    digits = np.frombuffer(raw, dtype=np.uint8).astype(np.int64) - 48
    if not len(digits):
        raise ValueError("run lengths without a character")
    if digits.min() < 0 or digits.max() > 63:
        raise ValueError("run lengths with characters outside 0 to o")
    ends = np.flatnonzero(digits < 32)
    if not len(ends) or ends[-1] != len(digits) - 1:
        raise ValueError("run lengths that break off")
    starts = np.concatenate(([0], ends[:-1] + 1))
    sizes = ends + 1 - starts
    if sizes.max() > 12:
        raise ValueError("run lengths with a number of more than 60 bits")
    places = np.arange(len(digits)) - np.repeat(starts, sizes)
    numbers = np.add.reduceat((digits & 31) << (5 * places), starts)
    negative = (digits[ends] & 16) > 0
    numbers[negative] -= np.int64(1) << (5 * sizes[negative])
    # From the fourth on, each is a difference from the one before the last.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _is_finite(numbers: Sequence[Any]) -> bool:
    """Whether these are numbers, all finite: their sum shows it in a fraction of the time."""
    try:
        return math.isfinite(sum(numbers))
    except (TypeError, OverflowError):
        return False


def _with_area(polygons: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    # The library would take four numbers for a box.
    return [polygon for polygon in polygons if len(polygon) >= 6]


def _filled(polygons: Sequence[Sequence[float]], height: int, width: int) -> Any:
    """Run lengths, in the library's form, of the union of polygons."""
    from faster_coco_eval.core import mask as coco

    # Far outside, coordinates would overflow.
    reach = 4.0 * (height + width)
    near = [np.clip(np.asarray(p, dtype=np.float64), -reach, reach).tolist() for p in polygons]
    codes = coco.frPyObjects(near, height, width)
    assert isinstance(codes, list)  # as polygons are given as one
    return coco.merge(codes)


def _run_lengths(counts: Any) -> np.ndarray:
    if isinstance(counts, str | bytes):
        return text_run_lengths(counts)
    return np.asarray(counts, dtype=np.int64)


def _code_fault(code: Mapping[str, Any], height: int, width: int) -> str | None:
    if "counts" not in code or "size" not in code:
        return "run lengths without size or counts"
    if code["size"] != [height, width]:
        size = shown(code["size"])
        return f"run lengths for size {size}, expected that of the image, {[height, width]}"
    counts = code["counts"]
    if isinstance(counts, list):
        if not all(type(value) is int for value in counts):
            return "run lengths with something else than whole numbers"
        if counts and max(counts) > height * width:
            return f"run length of {shown(max(counts))} in an image of {height * width} pixels"
        if counts and min(counts) < 0:
            return "run lengths with a negative number"
    elif not isinstance(counts, str | bytes):
        return "run lengths that are neither a list nor text"
    try:
        lengths = _run_lengths(counts)
    except ValueError as error:
        return str(error)
    if len(lengths) and lengths.min() < 0:
        return "run lengths with a negative number"
    if (total := int(lengths.sum())) != height * width:
        return (
            f"run lengths of {total} pixels in all, expected {height} x {width} = {height * width}"
        )
    return None
