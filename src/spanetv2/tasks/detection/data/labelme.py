"""Reading labelme's files: a JSON per image, with polygons and rectangles."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any

from spanetv2.data.walk import files_below
from spanetv2.errors import UserError
from spanetv2.failures import describe_failure
from spanetv2.tasks.detection.data.image_files import ImageFiles
from spanetv2.tasks.detection.data.labelled import (
    Annotated,
    LabelledData,
    LabelledObject,
    size_of,
    splits_of_folder,
)

__all__ = ["is_labelme", "read_labelme"]


def is_labelme(root: Path) -> bool:
    """Whether a folder holds labelme's files."""
    for path in files_below(root, ".json"):
        with contextlib.suppress(UserError):  # one that cannot be read tells nothing
            return "shapes" in _record(path)
    return False


def read_labelme(root: Path) -> LabelledData:
    """Read a folder of labelme's files; folders named after splits are these.

    Images beside annotated ones that have no file are taken for empty, and counted.

    Polygons and rectangles are taken; circles, lines and points are counted and passed over.

    Args:
        root: the folder.

    Raises:
        UserError: a file that cannot be read; it is named.
    """
    data = LabelledData()
    read: list[Annotated] = []
    for path in sorted(files_below(root, ".json")):
        record = _record(path)
        if not isinstance(record.get("shapes"), list):
            data.remark("JSON files that are not labelme's", path)
            continue
        name = str(record.get("imagePath") or "")
        found = ImageFiles(path.parent).find(name)
        if found.fault:
            raise UserError(f"{path}: its image {name!r} was not found beside it ({found.fault})")
        objects = [one for shape in record["shapes"] if (one := _object(shape, path, data))]
        size = size_of(record.get("imageWidth"), record.get("imageHeight"))
        read.append(Annotated(path, Path(found.path), size, objects))
    data.take(read, root, lambda path: splits_of_folder(path, root))
    data.classes.sort()
    return data


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{describe_failure(error)}; expected labelme's file") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}), expected labelme's file") from None
    return record if isinstance(record, dict) else {}


def _object(shape: Any, path: Path, data: LabelledData) -> LabelledObject | None:
    kind = shape.get("shape_type", "polygon") if isinstance(shape, dict) else None
    if kind not in ("polygon", "rectangle"):
        data.remark(f"shapes of type {kind}, passed over", path)
        return None
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
        name = str(shape["label"])
    except (KeyError, TypeError, ValueError):
        points, name = [], ""
    if len(points) < 2 or not name or not all(map(math.isfinite, sum(points, ()))):
        raise UserError(f"{path}: a shape without label or points, expected both")
    xs, ys = zip(*points, strict=True)
    box = (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
    flat = [value for point in points for value in point]
    return LabelledObject(data.class_of(name), box, () if kind == "rectangle" else (flat,))
