"""Finding the files of a data set: ADE20K's layout, or a folder of images beside one of masks."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spanetv2.data.images import EXTENSIONS, Failure
from spanetv2.data.splits import (
    RUN_SPLITS,
    SPLITS,
    canonical_split,
    find_split,
    how_to_name,
    is_split,
    present_splits,
)
from spanetv2.data.walk import walk
from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.data.ade20k import ADE20K_CLASSES, ADE20K_FOLDERS, ADE20K_PALETTE
from spanetv2.tasks.segmentation.data.classes import (
    Colour,
    check_names,
    distinct_colours,
    read_class_file,
)
from spanetv2.tasks.segmentation.data.source import Pair, PairSource, Transform, label_lookup

__all__ = [
    "CLASS_FILE",
    "DATASETS",
    "DatasetSpec",
    "open_dataset",
    "pair_files",
    "splits_to_check",
]

DATASETS = ("ade20k", "folder")
CLASS_FILE = "classes.txt"
"""In the root of a data set: class names by label, one a line."""

_ADE_FOLDER = "ADEChallengeData2016"
_SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Which data to open.

    Args:
        name: ``ade20k`` (images/ and annotations/, labels from 1, 0 is not labelled) or ``folder``
            (images/ and masks/, labels from 0, 255 is not labelled).
        root: the folder that holds them.
        split: train, val or test and their synonyms (``data.splits``), or a folder's own name;
            None is the validation split, or everything where the folder is not split.
        classes: class names by label, instead of the file ``classes.txt`` in the root.
        class_file: another file with them.
    """

    name: Literal["ade20k", "folder"] = "folder"
    root: str | None = None
    split: str | None = None
    classes: list[str] | None = None
    class_file: str | None = None


def open_dataset(spec: DatasetSpec, transform: Transform | None = None) -> PairSource:
    """Find the images and label maps of a data set; no file is opened but the class list.

    Raises:
        UserError: no such folder, split or class list; a split under several names; an image
            without a mask, a mask without an image, or neither.
    """
    if spec.name not in DATASETS:
        raise UserError(f"got data set {spec.name!r}, expected {' or '.join(DATASETS)}")
    if spec.root is None:
        raise UserError(f"got no folder for data set {spec.name}, expected one (--data PATH)")
    root = Path(spec.root)
    if not root.is_dir():
        state = "a file" if root.exists() else "no such folder"
        raise UserError(f"got data folder {str(root)!r} ({state}), expected a folder of images")
    ade = spec.name == "ade20k"
    if ade and not (root / "images").is_dir() and (root / _ADE_FOLDER).is_dir():
        root = root / _ADE_FOLDER
    classes, palette = _classes(spec, root)
    images, masks = _ade_folders(root, spec.split) if ade else _plain_folders(root, spec.split)
    return PairSource(
        pair_files(images, masks),
        classes=classes,
        palette=palette,
        lookup=label_lookup(len(classes), first=1 if ade else 0),
        name=f"{spec.name} {images}",
        transform=transform,
    )


def splits_to_check(spec: DatasetSpec) -> tuple[str | None, ...]:
    """The splits that a look through a whole data set opens, one after the other.

    Returns:
        Those that a training run reads; a single None, which is everything, for a folder that is
        not split.
    """
    flat = spec.name == "folder" and spec.root is not None and not _has_splits(Path(spec.root))
    return (None,) if flat else RUN_SPLITS


def pair_files(images: Path, masks: Path) -> list[Pair]:
    """Pair the images below one folder with the label files below another, by name.

    ``images/a/1.jpg`` belongs to ``masks/a/1.png``.

    Raises:
        UserError: an image without a mask, a mask without an image, two images of one name, or no
            pair at all.
    """
    for folder, what in ((images, "images"), (masks, "label files")):
        if not folder.is_dir():
            raise UserError(f"got no folder {folder}, expected the {what} there")
    pictures = _by_name(images, EXTENSIONS)
    labels = _by_name(masks, {".png"})
    without = [pictures[name] for name in pictures if name not in labels]
    if without:
        raise UserError(
            f"got {_first(without)} without a mask, expected a PNG of the same name in {masks}"
        )
    extra = [labels[name] for name in labels if name not in pictures]
    if extra:
        raise UserError(
            f"got mask {_first(extra)} without an image, expected one of the same name in {images}"
        )
    if not pictures:
        raise UserError(f"got no images in {images}, expected some, with masks in {masks}")
    return [Pair(path, labels[name]) for name, path in pictures.items()]


def _first(paths: list[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more


def _by_name(folder: Path, endings: frozenset[str] | set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    start = len(str(folder)) + 1
    for path in walk(str(folder)):
        if isinstance(path, Failure):
            raise UserError(f"cannot list {path.path}: {path.reason}")
        stem, ending = os.path.splitext(path)  # noqa: PTH122 - a million of them
        if ending.lower() not in endings:
            continue
        name = stem[start:]
        if name in found:
            raise UserError(f"got {found[name]} and {path}, expected different names")
        found[name] = path
    return found


def _classes(spec: DatasetSpec, root: Path) -> tuple[list[str], list[Colour]]:
    if spec.classes is not None:
        check_names(spec.classes, "the list given")
        return list(spec.classes), distinct_colours(len(spec.classes))
    if spec.class_file is not None:
        return read_class_file(spec.class_file)
    if (root / CLASS_FILE).is_file():
        return read_class_file(root / CLASS_FILE)
    if spec.name == "ade20k":
        return list(ADE20K_CLASSES), list(ADE20K_PALETTE)
    raise UserError(
        f"got no {CLASS_FILE} in {root}, expected the class names there, one a line, in the order "
        "of the labels 0, 1, 2, ..."
    )


def _ade_folders(root: Path, split: str | None) -> tuple[Path, Path]:
    wanted = split or "val"

    def exists(name: str) -> bool:
        return (root / "images" / name).is_dir()

    # The layout's own names and no synonyms: a folder images/train has labels that count from 0.
    name = ADE20K_FOLDERS.get(canonical_split(wanted))
    name = name or find_split(wanted, exists, where=str(root / "images")) or wanted
    if not exists(name):
        own = {*ADE20K_FOLDERS.values(), *SPLITS["test"]}
        present = [other for other in present_splits(exists) if other in own]
        raise UserError(
            f"got no folder {root / 'images' / name}, expected ADE20K's layout: images/training, "
            "images/validation, annotations/training, annotations/validation"
            + _others(wanted, present)
        )
    return root / "images" / name, root / "annotations" / name


def _plain_folders(root: Path, split: str | None) -> tuple[Path, Path]:
    wanted = split or "val"

    def folders_of(name: str) -> tuple[Path, Path] | None:
        layouts = (
            (root / "images" / name, root / "masks" / name),
            (root / name / "images", root / name / "masks"),
        )
        return next((pair for pair in layouts if pair[0].is_dir()), None)

    def exists(name: str) -> bool:
        return folders_of(name) is not None

    name = find_split(wanted, exists, where=str(root))
    folders = folders_of(name) if name is not None else None
    if folders is not None:
        return folders
    if split is None and not _has_splits(root):
        return root / "images", root / "masks"
    raise UserError(
        f"got no images of split {wanted!r} in {root}, expected images/{wanted} and masks/{wanted} "
        f"(or {wanted}/images and {wanted}/masks)" + _others(wanted, present_splits(exists))
    )


def _has_splits(root: Path) -> bool:
    return any(
        is_split(folder.name)
        for top in (root, root / "images")
        if top.is_dir()
        for folder in top.iterdir()
        if folder.is_dir()
    )


def _others(split: str, present: list[str]) -> str:
    return f"; there is {', '.join(present)}: {how_to_name(split, present)}" if present else ""
