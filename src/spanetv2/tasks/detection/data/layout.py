"""Where a data set keeps its annotations and images."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from spanetv2.data.splits import find_split, how_to_name, present_splits
from spanetv2.errors import UserError

__all__ = ["CocoFiles", "find_coco"]

_YEARS = ("2017", "", "2014")
"""Years that COCO's names end in, in the order of preference."""


class CocoFiles(NamedTuple):
    """The two things a COCO data set consists of."""

    annotations: Path
    """JSON file."""
    images: Path
    """Folder that the file names in it start from."""


def find_coco(root: str | os.PathLike[str], split: str) -> CocoFiles:
    """Find a split of a data set.

    COCO's own layout (``train2017/``, ``annotations/instances_train2017.json``), that of the
    built-in scenes (``images/training/``, ``annotations/instances_train.json``), and what lies
    between the two.

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
    annotations = root / "annotations"

    def has_annotations(name: str) -> bool:
        return (annotations / f"instances_{name}.json").is_file()

    exact = _find_name(split, has_annotations, where=str(annotations))
    if exact is None:
        there = sorted(path.name for path in annotations.glob("instances_*.json"))
        present = present_splits(lambda name: _with_year(name, has_annotations) is not None)
        raise UserError(
            f"got no annotations of split {split!r} in {root}, expected "
            f"annotations/instances_{split}.json or annotations/instances_{split}2017.json"
            + (f"; there is {', '.join(there)}: {how_to_name(split, present)}" if there else "")
        )
    images = _find_folder(root, split, exact) or _find_folder(root / "images", split, exact)
    images = images or root / "images"
    if not images.is_dir():
        raise UserError(
            f"got no images of split {split!r} in {root}, expected them in {exact}/, "
            f"images/{exact}/ or images/"
        )
    return CocoFiles(annotations / f"instances_{exact}.json", images)


def _find_folder(place: Path, split: str, exact: str) -> Path | None:
    """The images' folder in ``place``: named as the annotations are, or after the split."""

    def exists(name: str) -> bool:
        return (place / name).is_dir()

    name = exact if exists(exact) else _find_name(split, exists, where=str(place))
    return None if name is None else place / name


def _find_name(split: str, exists: Callable[[str], bool], *, where: str) -> str | None:
    """The name of a split, with a year or without; the very name asked for wins."""
    if exists(split):
        return split
    name = find_split(split, lambda name: _with_year(name, exists) is not None, where=where)
    return None if name is None else _with_year(name, exists)


def _with_year(name: str, exists: Callable[[str], bool]) -> str | None:
    return next((name + year for year in _YEARS if exists(name + year)), None)
