"""Reading YOLO's text labels: a line per object, in shares of the image.

``class x y width height`` (a box's centre and size) or ``class x1 y1 x2 y2 x3 y3 ...`` (a polygon).
Labels of ``.../images/a/1.jpg`` are in ``.../labels/a/1.txt``, or beside the image.
"""

import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from spanetv2.data.splits import SPLITS
from spanetv2.data.walk import files_below, is_file, is_folder
from spanetv2.errors import UserError
from spanetv2.files import read_text
from spanetv2.plain_yaml import load_texts, load_yaml
from spanetv2.tasks.detection.data.labelled import (
    UNLABELLED,
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
        UserError: no class names, or what is named or labelled cannot be meant; file and line are
            named.
    """
    data = LabelledData()
    description = _description(root)
    settings = {} if description is None else _settings(description)
    names = _names(root, settings)
    data.classes = list(names.values())
    of_labels: dict[Path, Path] = {}
    for split, folders in _folders(root, description, settings, data).items():
        images = []
        paths = dict.fromkeys(path for folder in folders for path in images_below(folder))
        for path, width, height in image_sizes(paths):
            labels = _labels_of(path, root)
            objects = [] if labels is None else _objects(labels, names, (width, height))
            if labels is None:
                data.remark(UNLABELLED, path)
            else:
                _refuse_shared(labels, path, of_labels)
            images.append(LabelledImage(path, width, height, objects))
        data.splits[split] = images
    folders = {image.path.parent.resolve() for part in data.splits.values() for image in part}
    known = {path.resolve() for path in of_labels}
    for path in files_below(root, ".txt"):
        if path.resolve() not in known and _may_be_labels(path, root, folders):
            data.remark("label files without an image in these, passed over", path)
    return data


def _refuse_shared(labels: Path, image: Path, of_labels: dict[Path, Path]) -> None:
    earlier = of_labels.setdefault(labels, image)
    if earlier != image:
        raise UserError(
            f"{labels}: labels of {earlier} and of {image}, expected one image for each file; "
            "rename one with its own labels, or take it away"
        )


def _may_be_labels(path: Path, root: Path, folders: Collection[Path]) -> bool:
    """Whether a text lies where labels do, and is no list or note."""
    if path.name in _NAMES:
        return False
    if "labels" in path.relative_to(root).parts[:-1]:
        return True
    words = []
    if path.parent.resolve() in folders:
        with contextlib.suppress(UserError):  # a note that cannot be read
            words = read_text(path, expected="labels").partition("\n")[0].split()
    return len(words) >= 5 and all(word.replace(".", "", 1).isdecimal() for word in words)


def _description(root: Path) -> Path | None:
    files = [root / name for name in ("data.yaml", "data.yml", "dataset.yaml")]
    found = [path for path in files if is_file(path)]
    return found[0] if found else None


def _class_file(root: Path) -> Path | None:
    return next((root / name for name in _NAMES if is_file(root / name)), None)


def _settings(path: Path) -> dict[str, Any]:
    text = read_text(path, expected="YOLO's description")
    try:
        settings, texts = load_yaml(text), load_texts(text)
    except UserError as error:
        raise UserError(f"{path}: not YAML ({error}), expected YOLO's description") from None
    if not isinstance(settings, dict):
        raise UserError(f"{path}: no entries, expected YOLO's names, train and val")
    if settings.get("names") is not None:
        settings["names"] = texts["names"]  # "no" and "01" are names, no truth value and no number
    return settings


def _names(root: Path, settings: dict[str, Any]) -> dict[int, str]:
    """Class names by number."""
    given, where = settings.get("names"), _description(root)
    if isinstance(given, dict):
        if not all(key.isdecimal() for key in given):
            raise UserError(f"{where}: names by {', '.join(given)[:60]}, expected numbers from 0")
        names = {int(key): given[key] for key in sorted(given, key=int)}
        if len(names) < len(given):
            raise UserError(f"{where}: a number with two names, expected each number once")
    elif isinstance(given, list):
        names = dict(enumerate(given))
    elif (where := _class_file(root)) is not None:
        lines = read_text(where, expected="a class name on each line").rstrip().splitlines()
        names = dict(enumerate(map(str.strip, lines)))
    else:
        raise UserError(f"{root}: no class names, expected them in data.yaml or classes.txt")
    first: dict[str, int] = {}
    for number, name in names.items():
        if not isinstance(name, str) or not name:
            raise UserError(f"{where}: class {number} is {name!r}, expected a name")
        if first.setdefault(name, number) != number:
            raise UserError(
                f"{where}: classes {first[name]} and {number} are both {name!r}, expected a name "
                "for each class; rename one"
            )
    count = settings.get("nc", len(names))
    if count is not None and count != len(names):
        raise UserError(
            f"{_description(root)}: nc is {count!r}, but there are {len(names)} names in {where}, "
            "expected as many; mend nc or the names"
        )
    return names


def _folders(
    root: Path, description: Path | None, settings: dict[str, Any], data: LabelledData
) -> dict[str, list[Path]]:
    """Folders of images by split: as the description says, or as they are usually laid out."""
    base = root
    if isinstance(settings.get("path"), str) and is_folder(root / settings["path"]):
        base = root / settings["path"]
    found: dict[str, list[Path]] = {}
    for split, synonyms in SPLITS.items():
        if given := settings.get(split):
            named = given if isinstance(given, list) else [given]
            places = [_named(str(one), split, base, root, description) for one in named]
            if all(places):
                found[split] = [place for place in places if place]
            elif split != "test":
                gone = named[places.index(None)]
                raise UserError(
                    f"{description}: {split} is {gone!r}, where no images are, expected their "
                    "folder; mend it, or take the entry away"
                )
            else:  # exporters name one whether they write it or not
                data.remark("test split that is named but has no images, passed over", given)
            continue
        usual = [root / "images" / name for name in synonyms]
        usual += [root / name / "images" for name in synonyms]
        usual += [root / name for name in synonyms]
        if place := next((one for one in usual if is_folder(one) and images_below(one)), None):
            found[split] = [place]
    whole = next((p for p in (root / "images", root) if is_folder(p) and images_below(p)), None)
    if not found and whole is not None:
        found[""] = [whole]
    if not found:
        raise UserError(f"{root}: no images, expected them in images/ or as data.yaml says")
    return found


def _named(given: str, split: str, base: Path, root: Path, description: Path | None) -> Path | None:
    """The folder of images that a description names; None where there is none."""
    parts = Path(given).parts
    tails = [Path(*parts[i:]) for i in range(1, len(parts))] if Path(given).is_absolute() else []
    moved = [root / tail for tail in tails if {*SPLITS[split]} & {*tail.parts}]
    # "../train/images" beside train/, and the place on another machine, are usual in exports
    for place in (base / given, root / given.lstrip("./"), *moved):
        if is_file(place):
            raise UserError(
                f"{description}: {split} is {place}, a list of files, expected a folder"
            )
        if is_folder(place) and images_below(place):
            return place
    return None


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
