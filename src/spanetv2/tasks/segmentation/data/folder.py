"""Finding the files of a data set: ADE20K's layout, or a folder of images beside one of masks."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

from spanetv2.data.images import EXTENSIONS
from spanetv2.data.splits import (
    RUN_SPLITS,
    SPLITS,
    canonical_split,
    find_split,
    how_to_name,
    is_split,
    present_splits,
)
from spanetv2.data.walk import is_file, is_folder
from spanetv2.errors import UserError
from spanetv2.files import read_text
from spanetv2.tasks.segmentation.data.ade20k import ADE20K_CLASSES, ADE20K_FOLDERS, ADE20K_PALETTE
from spanetv2.tasks.segmentation.data.class_list import (
    ClassList,
    find_class_file,
    read_class_list,
)
from spanetv2.tasks.segmentation.data.classes import check_names
from spanetv2.tasks.segmentation.data.encoding import make_encoding
from spanetv2.tasks.segmentation.data.orientation import Orientation
from spanetv2.tasks.segmentation.data.pairing import pair_files
from spanetv2.tasks.segmentation.data.source import PairSource, Transform

__all__ = ["CLASS_FILE", "DATASETS", "DatasetSpec", "decided", "open_dataset", "splits_to_check"]

DATASETS = ("ade20k", "folder")
CLASS_FILE = "classes.txt"
"""In the root of a data set: class names by label, one a line."""

_ADE_FOLDER = "ADEChallengeData2016"
_VOC = ("JPEGImages", "SegmentationClass")
"""Folders of images and of masks that VOC has, and CVAT writes."""


class _Folders(NamedTuple):
    """Where the files of a split lie."""

    images: Path
    masks: Path
    listing: Path | None = None
    """a text file that names the images of the split, where one does"""


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """Which data to open.

    Args:
        name: ``ade20k`` (images/ and annotations/, labels from 1, 0 is not labelled), ``folder``
            (images/ and masks/, labels from 0, 255 is not labelled), or ``auto``: what it looks
            like.
        root: the folder that holds them.
        split: train, val or test and their synonyms (``data.splits``), or a folder's own name;
            None is the validation split, or everything where the folder is not split.
        classes: class names by label, instead of the file ``classes.txt`` in the root.
        class_file: another file with them.
        mask_values: the value of each class in a mask, or of the first class; None is what the
            class list or the layout says.
        masks: whether masks are read by value or by colour; see ``make_encoding``.
        mask_suffix: end of the masks' names beyond those of their images; None finds out.
        orientation: how masks lie on images that EXIF data turn.
        max_pixels: most pixels of an image or a mask; None is Pillow's limit.
    """

    name: Literal["auto", "ade20k", "folder"] = "folder"
    root: str | None = None
    split: str | None = None
    classes: list[str] | None = None
    class_file: str | None = None
    mask_values: int | list[int] | None = None
    masks: Literal["auto", "values", "colours"] = "auto"
    mask_suffix: str | None = None
    orientation: Orientation = "auto"
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        for name, value, known in (
            ("masks", self.masks, ("auto", "values", "colours")),
            ("orientation", self.orientation, ("auto", "shown", "stored")),
        ):
            if value not in known:
                raise UserError(f"got {name} {value!r}, expected {', '.join(known)}")


def open_dataset(spec: DatasetSpec, transform: Transform | None = None) -> PairSource:
    """Find the images and label maps of a data set; no file is opened but the class list.

    Raises:
        UserError: no such folder, split or class list; a split under several names; an image
            without a mask, a mask without an image, or neither.
    """
    spec = decided(spec)
    if spec.root is None:
        raise UserError(f"got no folder for data set {spec.name}, expected one (--data PATH)")
    root = Path(spec.root)
    if not root.is_dir():
        state = "a file" if root.exists() else "no such folder"
        raise UserError(f"got data folder {str(root)!r} ({state}), expected a folder of images")
    ade = spec.name == "ade20k"
    if ade and not is_folder(root / "images") and is_folder(root / _ADE_FOLDER):
        root = root / _ADE_FOLDER
    folders = _ade_folders(root, spec.split) if ade else _plain_folders(root, spec.split)
    if not ade:
        _check_masks(root, folders.masks)
    listed = _class_list(spec, (root, folders.images, folders.images.parent))
    encoding = make_encoding(
        listed, first=1 if ade else 0, values=spec.mask_values, masks=spec.masks
    )
    names = None if folders.listing is None else _listed_names(folders.listing)
    pairing = pair_files(folders.images, folders.masks, suffix=spec.mask_suffix, names=names)
    return PairSource(
        pairing.pairs,
        classes=list(listed.names),
        palette=listed.palette,
        encoding=encoding,
        name=f"{spec.name} {folders.images}",
        orientation=spec.orientation,
        remarks=[pairing.remark] if pairing.remark else [],
        transform=transform,
        max_pixels=spec.max_pixels,
    )


def decided(spec: DatasetSpec) -> DatasetSpec:
    """The specification with the kind of data set that its folder looks like, for ``auto``.

    Raises:
        UserError: no such kind.
    """
    if spec.name not in ("auto", *DATASETS):
        raise UserError(f"got data set {spec.name!r}, expected auto, {' or '.join(DATASETS)}")
    if spec.name != "auto":
        return spec
    ade = spec.root is not None and _looks_like_ade20k(Path(spec.root))
    return replace(spec, name="ade20k" if ade else "folder")


def _looks_like_ade20k(root: Path) -> bool:
    tops = (root, root / _ADE_FOLDER)
    return not is_folder(root / "masks") and any(is_folder(top / "annotations") for top in tops)


def _check_masks(root: Path, masks: Path) -> None:
    """Say where masks are that lie as ADE20K's do."""
    annotations = root / "annotations"
    if is_folder(annotations) and not is_folder(masks):
        raise UserError(
            f"got no folder {masks}, but {annotations}: for label files there that count from 1 "
            "(0 is not labelled) say --data.dataset ade20k (in other commands --dataset ade20k), "
            "from 0 also --data.mask_values 0 (--mask-values 0)"
        )


def splits_to_check(spec: DatasetSpec) -> tuple[str | None, ...]:
    """The splits that a look through a whole data set opens, one after the other.

    Returns:
        Those that a training run reads; a single None, which is everything, for a folder that is
        not split.
    """
    flat = spec.name == "folder" and spec.root is not None and not _has_splits(Path(spec.root))
    return (None,) if flat else RUN_SPLITS


def _class_list(spec: DatasetSpec, folders: tuple[Path, ...]) -> ClassList:
    if spec.classes is not None:
        check_names(spec.classes, "the list given")
        return ClassList(names=list(spec.classes), given=[None] * len(spec.classes))
    if spec.class_file is not None:
        return read_class_list(Path(spec.class_file))
    path = find_class_file(folders)
    if path is not None:
        return read_class_list(path)
    if spec.name == "ade20k":
        return ClassList(names=list(ADE20K_CLASSES), given=list(ADE20K_PALETTE))
    raise UserError(
        f"got no {CLASS_FILE} in {folders[0]}, expected the class names there, one a line, in the "
        "order of the labels 0, 1, 2, ... (CVAT's labelmap.txt and Roboflow's _classes.csv do, too)"
    )


def _listed_names(path: Path) -> set[str]:
    lines = read_text(path, expected="an image on each line").splitlines()
    return {line.split()[0] for line in lines if line.strip()}


def _ade_folders(root: Path, split: str | None) -> _Folders:
    wanted = split or "val"

    def exists(name: str) -> bool:
        return is_folder(root / "images" / name)

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
    return _Folders(root / "images" / name, root / "annotations" / name)


def _plain_folders(root: Path, split: str | None) -> _Folders:
    wanted = split or "val"
    lists = root / "ImageSets" / "Segmentation"

    def folders_of(name: str) -> _Folders | None:
        layouts = [
            _Folders(root / "images" / name, root / "masks" / name),
            _Folders(root / name / "images", root / name / "masks"),
            _Folders(root / name / _VOC[0], root / name / _VOC[1]),
        ]
        if is_file(lists / f"{name}.txt"):
            layouts.insert(0, _Folders(root / _VOC[0], root / _VOC[1], lists / f"{name}.txt"))
        if _holds_images(root / name):
            layouts.append(_Folders(root / name, root / name))
        return next((found for found in layouts if is_folder(found.images)), None)

    def exists(name: str) -> bool:
        return folders_of(name) is not None

    name = find_split(wanted, exists, where=str(root))
    folders = folders_of(name) if name is not None else None
    if folders is not None:
        return _with_classes(folders)
    if split is None and not _has_splits(root):
        whole = (_Folders(root / _VOC[0], root / _VOC[1]), _Folders(root, root))
        if is_folder(whole[0].images):
            return _with_classes(whole[0])
        if not is_folder(root / "images") and _holds_images(root):
            return whole[1]
        return _Folders(root / "images", root / "masks")
    raise UserError(
        f"got no images of split {wanted!r} in {root}, expected images/{wanted} and masks/{wanted} "
        f"(or {wanted}/images and {wanted}/masks)"
        + _others(wanted, [*present_splits(exists), *_other_lists(lists)])
    )


def _other_lists(folder: Path) -> list[str]:
    names = sorted(path.stem for path in folder.glob("*.txt")) if is_folder(folder) else []
    return [name for name in names if not is_split(name)]


def _with_classes(folders: _Folders) -> _Folders:
    """Refuse a folder that has masks of objects only."""
    objects = folders.masks.parent / "SegmentationObject"
    if not is_folder(folders.masks) and is_folder(objects):
        raise UserError(
            f"got {objects} (a number for each object), expected {folders.masks} with the class of "
            "every pixel; export class masks too"
        )
    return folders


def _holds_images(folder: Path) -> bool:
    return is_folder(folder) and any(
        entry.suffix.lower() in EXTENSIONS and is_file(entry) for entry in folder.iterdir()
    )


def _has_splits(root: Path) -> bool:
    lists = root / "ImageSets" / "Segmentation"
    if is_folder(lists) and any(is_split(path.stem) for path in lists.glob("*.txt")):
        return True
    return any(
        is_split(folder.name) and is_folder(folder)
        for top in (root, root / "images")
        if is_folder(top)
        for folder in top.iterdir()
    )


def _others(split: str, present: list[str]) -> str:
    return f"; there is {', '.join(present)}: {how_to_name(split, present)}" if present else ""
