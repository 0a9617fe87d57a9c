"""Where a data set keeps its annotations and images."""

import os
from pathlib import Path
from typing import NamedTuple

from spanetv2.errors import UserError

__all__ = ["CocoFiles", "find_coco"]

_SYNONYMS = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
_YEARS = ("2017", "", "2014")


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
        split: train or val (or test), or a folder's name such as train2017.

    Raises:
        UserError: no such annotations or images.
    """
    root = Path(root)
    if not root.is_dir():
        state = "a file" if root.exists() else "no such folder"
        raise UserError(f"got data folder {str(root)!r} ({state}), expected one with COCO data")
    same = next((names for names in _SYNONYMS.values() if split in names), (split,))
    names = list(dict.fromkeys([split, *(f"{name}{year}" for name in same for year in _YEARS)]))
    files = [root / "annotations" / f"instances_{name}.json" for name in names]
    annotations = next((path for path in files if path.is_file()), None)
    if annotations is None:
        there = sorted(path.name for path in (root / "annotations").glob("instances_*.json"))
        raise UserError(
            f"got no annotations of split {split!r} in {root}, expected "
            f"annotations/instances_{split}.json or annotations/instances_{split}2017.json"
            + (f"; there is {', '.join(there)}" if there else "")
        )
    exact = annotations.stem.removeprefix("instances_")
    names = list(dict.fromkeys([exact, *names]))
    folders = [place / name for place in (root, root / "images") for name in names]
    images = next((path for path in (*folders, root / "images") if path.is_dir()), None)
    if images is None:
        raise UserError(
            f"got no images of split {split!r} in {root}, expected them in {exact}/, "
            f"images/{exact}/ or images/"
        )
    return CocoFiles(annotations, images)
