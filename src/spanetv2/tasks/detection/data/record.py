"""An annotation file: reading it, and what makes it unusable."""

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.masks import mask_fault

__all__ = ["Problem", "box_fault", "read_record", "record_problems"]

_SHOWN = 5


class Problem(NamedTuple):
    """Something that is wrong with the data."""

    path: str
    """The annotation file, or the image file."""
    annotation: int | None
    """The annotation's id; None where it has none, or is not the cause."""
    reason: str
    """What is wrong, and where that is known, in which image."""
    effect: Literal["stops", "left out", "kept"]
    """What training does: refuses the data, goes on without it, or uses it as it is."""

    def __str__(self) -> str:
        place = "" if self.annotation is None else f"annotation {self.annotation}: "
        return f"{self.path}: {place}{self.reason}"


def read_record(path: str | os.PathLike[str]) -> dict[str, list[Any]]:
    """Read an annotation file and check that it has COCO's three lists.

    Raises:
        UserError: it cannot be read, is not JSON, or has another form.
    """
    try:
        record = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise UserError(
            f"cannot read {path} ({(error.strerror or str(error)).lower()}), "
            "expected COCO annotations"
        ) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON ({error}), expected COCO annotations") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(record, dict) or not isinstance(record.get(key), list):
            raise UserError(
                f"{path}: no list {key!r}, expected COCO annotations: an object with the lists "
                "images, annotations and categories"
            )
    return record


def record_problems(
    record: Mapping[str, list[Any]],
    *,
    path: str | os.PathLike[str],
    classes: Sequence[str] | None = None,
) -> Iterator[Problem]:
    """Find what keeps an annotation file from being used at all.

    Args:
        record: what ``read_record`` returned.
        path: how messages call the file.
        classes: the class names that are known; by default those of the file's categories.

    Yields:
        Problems whose effect is ``stops``: missing or doubled ids, references to nothing, unknown
        categories, boxes that are not four finite numbers, broken masks.
    """
    name = str(path)

    def stop(reason: str, annotation: Any = None) -> Problem:
        known = annotation if isinstance(annotation, int) else None
        return Problem(name, known, reason, "stops")

    images: dict[int, Mapping[str, Any]] = {}
    for place, image in enumerate(record["images"]):
        if reason := _image_fault(image, images):
            yield stop(f"images[{place}]: {reason}")
        else:
            images[image["id"]] = image
    categories: dict[int, str] = {}
    for place, category in enumerate(record["categories"]):
        if reason := _category_fault(category, categories):
            yield stop(f"categories[{place}]: {reason}")
        else:
            categories[category["id"]] = category["name"]
    known = set(categories.values() if classes is None else classes)
    seen: set[int] = set()
    for place, annotation in enumerate(record["annotations"]):
        if not isinstance(annotation, Mapping) or type(annotation.get("id")) is not int:
            yield stop(f"annotations[{place}]: no id, expected a whole number")
            continue
        own = annotation["id"]
        if own in seen:
            yield stop("an id that another annotation has too, expected each once", own)
        seen.add(own)
        image = images.get(_hashable(annotation.get("image_id")))
        if image is None:
            yield stop(f"image_id {annotation.get('image_id')!r}, which no image has", own)
            continue
        for reason in _annotation_faults(annotation, image, categories, known):
            yield stop(f"{reason} (image {image['file_name']})", own)


def box_fault(annotation: Mapping[str, Any], image: Mapping[str, Any]) -> str | None:
    """Say why training cannot use an annotation's box.

    Args:
        annotation: without a problem that stops.
        image: the entry of its image.

    Returns:
        The reason, or None.
    """
    left, top, width, height = annotation["bbox"]
    if width < 1 or height < 1:
        return f"box of {width:g} x {height:g} pixels, expected at least 1 x 1"
    inside_x = min(left + width, image["width"]) - max(left, 0)
    inside_y = min(top + height, image["height"]) - max(top, 0)
    if inside_x < 1 or inside_y < 1:
        return (
            f"box outside the image: {[left, top, width, height]} in "
            f"{image['width']} x {image['height']} pixels"
        )
    if "area" in annotation and annotation["area"] <= 0:
        return f"area {annotation['area']:g}, expected more than 0"
    return None


def _image_fault(image: Any, earlier: Mapping[int, Any]) -> str | None:
    if not isinstance(image, Mapping) or type(image.get("id")) is not int:
        return "no id, expected a whole number"
    if image["id"] in earlier:
        return f"id {image['id']}, which another image has too, expected each once"
    if not isinstance(image.get("file_name"), str) or not image["file_name"]:
        return f"image {image['id']} without file_name"
    for key in ("width", "height"):
        if type(image.get(key)) is not int or image[key] < 1:
            return (
                f"image {image['id']} ({image['file_name']}) with {key} {image.get(key)!r}, "
                "expected pixels"
            )
    return None


def _category_fault(category: Any, earlier: Mapping[int, str]) -> str | None:
    if not isinstance(category, Mapping) or type(category.get("id")) is not int:
        return "no id, expected a whole number"
    if category["id"] in earlier:
        return f"id {category['id']}, which another category has too, expected each once"
    if not isinstance(category.get("name"), str) or not category["name"]:
        return f"category {category['id']} without name"
    if category["name"] in earlier.values():
        return f"name {category['name']!r}, which another category has too, expected each once"
    return None


def _annotation_faults(
    annotation: Mapping[str, Any],
    image: Mapping[str, Any],
    categories: Mapping[int, str],
    known: set[str],
) -> Iterator[str]:
    category = _hashable(annotation.get("category_id"))
    if category not in categories:
        yield f"category_id {annotation.get('category_id')!r}, which no category has"
    elif categories[category] not in known:
        listed = sorted(known)
        more = ", ..." if len(listed) > _SHOWN else ""
        yield (
            f"category {categories[category]!r}, which is not among the {len(listed)} classes "
            f"({', '.join(listed[:_SHOWN])}{more})"
        )
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_finite, box)):
        yield f"bbox {box!r}, expected four finite numbers: left, top, width, height"
    if annotation.get("iscrowd", 0) not in (0, 1):
        yield f"iscrowd {annotation['iscrowd']!r}, expected 0 or 1"
    if "area" in annotation and not _is_finite(annotation["area"]):
        yield f"area {annotation['area']!r}, expected a finite number"
    reason = mask_fault(annotation.get("segmentation"), image["height"], image["width"])
    if reason is not None:
        yield reason


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _hashable(value: Any) -> Any:
    return value if isinstance(value, int | str | float) else None
