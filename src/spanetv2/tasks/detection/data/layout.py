"""Where a data set keeps its annotations and images, as COCO and annotation tools lay them out."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from spanetv2.data.images import Failure
from spanetv2.data.splits import canonical_split, find_split, how_to_name, present_splits
from spanetv2.data.walk import is_file, is_folder, walk
from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.record import some

__all__ = ["CocoFiles", "find_coco"]

_YEARS = ("2017", "", "2014")
"""Years that COCO's names end in, in the order of preference."""

_TOOLS = ("_annotations.coco.json", "instances_default.json", "result.json", "annotations.json")
"""How tools call an annotation file: Roboflow, CVAT, Label Studio, and several others."""

_SEEN = 1000
"""Files that are looked at for a message."""


class CocoFiles(NamedTuple):
    """The two things a COCO data set consists of."""

    annotations: Path
    """JSON file."""
    images: Path
    """Folder that the file names in it start from."""


def find_coco(root: str | os.PathLike[str], split: str) -> CocoFiles:
    """Find a split of a data set.

    In this order, letters of any case:

    - COCO's own layout (``train2017/``, ``annotations/instances_train2017.json``), that of the
      built-in scenes (``images/training/``, ``annotations/instances_train.json``), and what lies
      between the two;
    - a folder of the split with its annotation file, as Roboflow writes it
      (``train/_annotations.coco.json``, ``valid/...``); images beside it or in ``images/``;
    - an annotation file with the split in its name (``train.json``);
    - for training, one annotation file that is not split: CVAT's
      (``annotations/instances_default.json``), Label Studio's (``result.json``).

    Args:
        root: the data set's folder.
        split: train, val or test and their synonyms (``data.splits``), or a name such as
            train2017.

    Raises:
        UserError: no such annotations or images, or several synonyms of the split.
    """
    root = Path(root)
    if not root.is_dir():
        state = "a file" if root.exists() else "no such folder"
        raise UserError(f"got data folder {str(root)!r} ({state}), expected one with COCO data")
    found = _as_coco(root, split) or _in_its_folder(root, split) or _named_after(root, split)
    whole = None if found is not None else _not_split(root)
    if found is None and whole is not None and canonical_split(split) == "train":
        found = whole
    if found is None:
        raise UserError(_nothing(root, split, whole))
    return found


def _as_coco(root: Path, split: str) -> CocoFiles | None:
    annotations = root / "annotations"

    def file(name: str) -> Path | None:
        return _child(annotations, f"instances_{name}.json")

    exact = _find_name(split, lambda name: file(name) is not None, where=str(annotations))
    if exact is None:
        return None
    images = _find_folder(root, split, exact) or _find_folder(root / "images", split, exact)
    images = images or root / "images"
    if not images.is_dir():
        raise UserError(
            f"got no images of split {split!r} in {root}, expected them in {exact}/, "
            f"images/{exact}/ or images/"
        )
    path = file(exact)
    assert path is not None
    return CocoFiles(path, images)


def _in_its_folder(root: Path, split: str) -> CocoFiles | None:
    """A folder of the split's name that holds an annotation file."""

    def found(name: str) -> CocoFiles | None:
        folder = _child(root, name)
        return None if folder is None else _not_split(folder)

    name = find_split(split, lambda name: found(name) is not None, where=str(root))
    return None if name is None else found(name)


def _named_after(root: Path, split: str) -> CocoFiles | None:
    """An annotation file with the split in its name, such as ``annotations/train.json``."""

    def found(name: str) -> Path | None:
        files = [
            path
            for place in (root, root / "annotations")
            for path in _children(place)
            if path.suffix.lower() == ".json" and name in _words(path.stem)
        ]
        return files[0] if len(files) == 1 else None

    name = find_split(split, lambda name: found(name) is not None, where=str(root))
    path = None if name is None else found(name)
    if name is None or path is None:
        return None
    images = _find_folder(root, split, name) or _find_folder(root / "images", split, name)
    return CocoFiles(path, images or _child(root, "images") or root)


def _words(stem: str) -> set[str]:
    """The words of a file's name; none where it is of another kind of annotations.

    Example:
        >>> sorted(_words("instances_val2017")), _words("captions_val2017")
        (['instances', 'val'], set())
    """
    words = {word.rstrip("0123456789") for word in re.split(r"[^a-z0-9]+", stem.lower())}
    others = {"captions", "keypoints", "panoptic", "stuff", "info"}
    return set() if words & others else words


def _not_split(folder: Path) -> CocoFiles | None:
    """The one annotation file of a folder, and where its images are."""
    for place in (folder, folder / "annotations"):
        named = [path for name in _TOOLS if (path := _child(place, name)) is not None]
        files = sorted(path for path in _children(place) if path.suffix.lower() == ".json")
        path = named[0] if named else files[0] if len(files) == 1 else None
        if path is None or present_splits(_words(path.stem).__contains__):
            continue
        images = _child(folder, "images")
        inside = None if images is None else _child(images, "default")
        return CocoFiles(path, inside or images or folder)
    return None


def _nothing(root: Path, split: str, whole: CocoFiles | None) -> str:
    """Why nothing was found, and what to do."""
    reason = (
        f"got no annotations of split {split!r} in {root}, expected "
        f"annotations/instances_{split}.json, annotations/instances_{split}2017.json or "
        f"{split}/_annotations.coco.json"
    )
    if whole is not None:
        return (
            f"{reason}; {whole.annotations.relative_to(root)} is not split: train on all of it "
            "with --data.val_split null, or hold out a part with spanetv2 convert-data "
            f"{root} NEW_FOLDER --val-share 0.2"
        )
    annotations = root / "annotations"
    there = sorted(path.name for path in annotations.glob("instances_*.json"))
    if there:

        def exists(name: str) -> bool:
            return is_file(annotations / f"instances_{name}.json")

        present = present_splits(lambda name: _with_year(name, exists) is not None)
        return f"{reason}; there is {', '.join(there)}: {how_to_name(split, present)}"
    option = "train" if canonical_split(split) == "train" else "val"
    how = (
        f"name them: --data.{option}_annotations FILE --data.{option}_images FOLDER in training, "
        "--annotations FILE --images FOLDER in check-data"
    )
    if seen := list(_json_files(root)):
        return f"{reason}; there is {some(seen)}: {how}"
    return f"{reason}; there is no JSON file below it. If they lie elsewhere, {how}"


def _json_files(root: Path) -> Iterator[str]:
    for count, entry in enumerate(walk(str(root))):
        if count == _SEEN:
            return
        if not isinstance(entry, Failure) and entry.lower().endswith(".json"):
            yield str(Path(entry).relative_to(root))


def _find_folder(root: Path, split: str, exact: str) -> Path | None:
    """The images' folder in ``root``: named as the annotations are, or after the split."""

    def folder(name: str) -> Path | None:
        path = _child(root, name)
        return path if path is not None and is_folder(path) else None

    same_name = folder(exact)
    if same_name is not None:
        return same_name
    name = _find_name(split, lambda name: folder(name) is not None, where=str(root))
    return None if name is None else folder(name)


def _find_name(split: str, exists: Callable[[str], bool], *, where: str) -> str | None:
    """The name of a split, with a year or without; the very name asked for wins."""
    if exists(split):
        return split
    name = find_split(split, lambda name: _with_year(name, exists) is not None, where=where)
    return None if name is None else _with_year(name, exists)


def _with_year(name: str, exists: Callable[[str], bool]) -> str | None:
    return next((name + year for year in _YEARS if exists(name + year)), None)


def _child(folder: Path, name: str) -> Path | None:
    """An entry of a folder by its name; where there is none, the only one but for case."""
    if os.path.lexists(folder / name):
        return folder / name
    alike = [path for path in _children(folder) if path.name.casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else None


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
