"""Reading YOLO's text labels: a line per object, in shares of the image.

``class x y width height`` (a box's centre and size) or ``class x1 y1 x2 y2 x3 y3 ...`` (a polygon).
Labels of ``.../images/a/1.jpg`` are in ``.../labels/a/1.txt``, or beside the image.
"""

from pathlib import Path
from typing import Any

from spanetv2.data.splits import SPLITS
from spanetv2.data.walk import is_file, is_folder
from spanetv2.errors import UserError
from spanetv2.files import read_text
from spanetv2.plain_yaml import load_yaml
from spanetv2.tasks.detection.data.labelled import (
    LabelledData,
    LabelledImage,
    LabelledObject,
    image_sizes,
    images_below,
)

__all__ = ["is_yolo", "read_yolo"]

_NAMES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt")
# Shares may pass the border by rounding.
_SLACK = 0.01


def is_yolo(root: Path) -> bool:
    """Whether a folder looks like a data set with YOLO's labels."""
    return _description(root) is not None or _class_file(root) is not None


def read_yolo(root: Path) -> LabelledData:
    """Read a data set with YOLO's labels.

    Args:
        root: its folder, with ``data.yaml`` or a list of class names (``classes.txt``).

    Raises:
        UserError: no class names, or a label that cannot be read; file and line are named.
    """
    data = LabelledData()
    description = _description(root)
    settings = {} if description is None else _settings(description)
    names = _names(root, settings)
    data.classes = list(names.values())
    for split, folder in _folders(root, description, settings).items():
        images = []
        for path, width, height in image_sizes(images_below(folder)):
            labels = _labels_of(path, root)
            objects = [] if labels is None else _objects(labels, names, (width, height))
            data.remarks["images without a label file, taken for empty"] += labels is None
            images.append(LabelledImage(path, width, height, objects))
        data.splits[split] = images
    return data


def _description(root: Path) -> Path | None:
    files = [root / name for name in ("data.yaml", "data.yml", "dataset.yaml")]
    found = [path for path in files if is_file(path)]
    return found[0] if found else None


def _class_file(root: Path) -> Path | None:
    return next((root / name for name in _NAMES if is_file(root / name)), None)


def _settings(path: Path) -> dict[str, Any]:
    text = read_text(path, expected="YOLO's description")
    try:
        settings = load_yaml(text)
    except UserError as error:
        raise UserError(f"{path}: not YAML ({error}), expected YOLO's description") from None
    if not isinstance(settings, dict):
        raise UserError(f"{path}: no entries, expected YOLO's names, train and val")
    return settings


def _names(root: Path, settings: dict[str, Any]) -> dict[int, str]:
    names = settings.get("names")
    if isinstance(names, dict) and all(isinstance(key, int) for key in names):
        return {key: str(names[key]) for key in sorted(names)}
    if isinstance(names, list):
        return dict(enumerate(map(str, names)))
    file = _class_file(root)
    if file is None:
        raise UserError(f"{root}: no class names, expected them in data.yaml or classes.txt")
    lines = read_text(file, expected="a class name on each line").splitlines()
    return dict(enumerate(line.strip() for line in lines if line.strip()))


def _folders(root: Path, description: Path | None, settings: dict[str, Any]) -> dict[str, Path]:
    """Folders of images by split: as the description says, or as they are usually laid out."""
    base = root
    if isinstance(settings.get("path"), str) and is_folder(root / settings["path"]):
        base = root / settings["path"]
    found: dict[str, Path] = {}
    for split, synonyms in SPLITS.items():
        given = settings.get(split)
        places = [base / given, root / given.lstrip("./")] if isinstance(given, str) else []
        places += [root / "images" / name for name in synonyms]
        places += [root / name / "images" for name in synonyms]
        places += [root / name for name in synonyms]
        for place in places:
            if is_file(place):
                raise UserError(
                    f"{description}: {split} is {place}, a list of files, expected a folder"
                )
            if is_folder(place) and images_below(place):
                found[split] = place
                break
    whole = next((p for p in (root / "images", root) if is_folder(p) and images_below(p)), None)
    if not found and whole is not None:
        found[""] = whole
    if not found:
        raise UserError(f"{root}: no images, expected them in images/ or as data.yaml says")
    return found


def _labels_of(image: Path, root: Path) -> Path | None:
    """The label file of an image."""
    inside = image.relative_to(root).parts if image.is_relative_to(root) else image.parts
    base = root if image.is_relative_to(root) else Path()
    beside = image.with_suffix(".txt")
    places = [
        (base / Path(*inside[:i], "labels", *inside[i + 1 :])).with_suffix(".txt")
        for i in range(len(inside) - 1, -1, -1)
        if inside[i] == "images"
    ]
    return next((place for place in (*places, beside) if is_file(place)), None)


def _objects(path: Path, names: dict[int, str], size: tuple[int, int]) -> list[LabelledObject]:
    objects = []
    lines = read_text(path, expected="an object on each line").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = [float(word) for word in line.split()]
        except ValueError:
            values = []
        where = f"{path}, line {number}"
        shares = values[1:]
        if len(shares) != 4 and (len(shares) < 6 or len(shares) % 2):
            raise UserError(
                f"{where}: {line.strip()[:60]!r}, expected a class number and four shares of the "
                "image (x, y, width, height) or three and more points"
            )
        if not all(-_SLACK <= share <= 1 + _SLACK for share in shares):  # nor not-a-number
            raise UserError(f"{where}: {line.strip()[:60]!r}, expected shares from 0 to 1")
        if values[0] not in names:
            raise UserError(
                f"{where}: class {values[0]:g}, expected 0 to {max(names, default=0)} as named"
            )
        objects.append(_object(names[int(values[0])], shares, size))
    return objects


def _object(name: str, shares: list[float], size: tuple[int, int]) -> LabelledObject:
    width, height = size
    if len(shares) == 4:
        x, y, across, down = shares
        box = ((x - across / 2) * width, (y - down / 2) * height, across * width, down * height)
        return LabelledObject(name, box)
    xs = [x * width for x in shares[0::2]]
    ys = [y * height for y in shares[1::2]]
    polygon = [value for point in zip(xs, ys, strict=True) for value in point]
    box = (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
    return LabelledObject(name, box, (polygon,))
