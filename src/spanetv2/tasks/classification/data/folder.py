"""A folder of images, one sub-folder per class.

Classes are the sub-folders of the split's folder in natural order (``2`` before ``10``), which is
alphabetical order for ImageNet's names and so equals torchvision's and timm's class indices. Images
further down belong to the class at the top.
"""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from spanetv2.data.classes import label_table
from spanetv2.data.images import EXTENSIONS, HEIC_EXTENSIONS, Failure
from spanetv2.data.preprocessing import Transform
from spanetv2.data.splits import (
    canonical_split,
    find_split,
    how_to_name,
    is_split,
    present_splits,
    split_names,
)
from spanetv2.data.walk import is_file, is_folder, is_hidden, walk
from spanetv2.errors import UserError
from spanetv2.extras import install
from spanetv2.tasks.classification.data.names import PackedNames
from spanetv2.tasks.classification.data.source import FileSource

__all__ = ["FolderSource", "natural_order", "split_folder"]


class FolderSource(FileSource):
    """Images in ``root/class/**/name.ext``.

    Args:
        root: the folder that holds the class folders.
        classes: class names in index order; folders are matched by name and may be fewer. By
            default, the folders found.
        transform: applied to every Pillow image.
        drop_empty: a class folder without images is no class. In training that would be a class
            nobody meant to lose.

    Raises:
        UserError: no images; images outside the class folders; a folder that is not among
            ``classes``.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        classes: Sequence[str] | None = None,
        transform: Transform | None = None,
        drop_empty: bool = False,
    ):
        root = Path(root)
        found, stray, hidden = _class_folders(root)
        left_out: Counter[str] = Counter()
        names = PackedNames()
        labels: list[int] = []
        empty: set[str] = set()
        for index, folder in enumerate(found):
            before = len(names)
            for name in _image_files(root / folder, left_out):
                names.append(os.path.join(folder, name))  # noqa: PTH118 - a million of them
            labels.extend([index] * (len(names) - before))
            if len(names) == before:
                empty.add(folder)
        if not names:
            raise UserError(
                f"got {root} with no images in sub-folders, expected one sub-folder per class "
                f"holding image files ({', '.join(sorted(EXTENSIONS))})"
            )
        if stray:
            raise UserError(
                f"got image {stray!r} directly in {root}, expected every image in the sub-folder "
                "of its class; move it there, or point at the folder above"
            )
        present = [folder for folder in found if folder not in empty]
        if classes is None:
            classes = present if drop_empty else found
        table = dict(zip(present, label_table(present, classes, where=str(root)), strict=True))
        super().__init__(
            root,
            names,
            classes=list(classes),
            labels=np.asarray([table[found[label]] for label in labels], dtype=np.int64),
            transform=transform,
        )
        self.remarks = _remarks(hidden, left_out)


def split_folder(root: str | os.PathLike[str], split: str, *, archives: Sequence[str] = ()) -> Path:
    """Find the folder of a split: ``root/<split>`` or a synonym, or ``root`` itself.

    ``root`` itself is taken only if none of its sub-folders looks like a split, so that asking for
    a split that is not there never mixes all of them.

    Args:
        root: the data set's folder.
        split: a name of ``data.splits``, or a folder's own name.
        archives: endings of files that may hold a split, such as ``.tar``; a file wins over a
            folder of the same name.

    Raises:
        UserError: ``root`` is not a folder, holds other splits only, or the split under several
            names.

    Example:
        >>> import tempfile; from pathlib import Path
        >>> root = Path(tempfile.mkdtemp()); (root / "validation").mkdir()
        >>> split_folder(root, "val").name
        'validation'
    """
    root = Path(root)
    if not root.is_dir():
        state = "a file" if root.exists() else "no such folder"
        raise UserError(f"got data folder {str(root)!r} ({state}), expected a folder of images")

    def archive_of(name: str) -> Path | None:
        files = (root / f"{name}{ending}" for ending in archives)
        return next((path for path in files if is_file(path)), None)

    def exists(name: str) -> bool:
        return archive_of(name) is not None or is_folder(root / name)

    name = find_split(split, exists, where=str(root))
    if name is not None:
        return archive_of(name) or root / name
    others = present_splits(exists)
    others += sorted(p.name for p in root.iterdir() if p.name not in others and is_split_folder(p))
    if others:
        raise UserError(
            f"got no {split!r} folder in {root}, expected one of "
            f"{', '.join(split_names(split))}; there is {', '.join(others)}: "
            f"{how_to_name(split, others)}{_or_hold_out(split)}"
        )
    return root


def _or_hold_out(split: str) -> str:
    if canonical_split(split) != "val":
        return ""
    return "; or hold a share of the training images out: --data.val_share 0.2"


def is_split_folder(path: Path) -> bool:
    """Whether a folder goes by the name of a split, in whatever case."""
    return is_split(path.name) and is_folder(path)


def natural_order(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """Sort key that compares runs of digits as numbers.

    Example:
        >>> sorted(["class10", "class2"], key=natural_order)
        ['class2', 'class10']
    """
    pieces = re.split(r"(\d+)", name.lower())
    return [(0, int(p)) if i % 2 else (1, p) for i, p in enumerate(pieces)], name


def _class_folders(root: Path) -> tuple[list[str], str | None, list[str]]:
    """Class folders, an image outside them, and folders of images with a dot in front."""
    folders, stray, hidden = [], None, []
    with os.scandir(root) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                if is_folder(entry) and _image_files(Path(entry.path), Counter()):
                    hidden.append(entry.name)
                continue
            if is_folder(entry):
                folders.append(entry.name)
            elif Path(entry.name).suffix.lower() in EXTENSIONS:
                stray = entry.name
    return sorted(folders, key=natural_order), stray, sorted(hidden)


def _remarks(hidden: Sequence[str], left_out: Mapping[str, int]) -> list[str]:
    """What was passed over: folders with a dot in front, and files that are not images."""
    lines = []
    if hidden:
        lines.append(
            f"left out {len(hidden)} folders of images that are hidden or a system's own: "
            f"{', '.join(hidden[:5])}; rename what is a class"
        )
    if left_out:
        counts = ", ".join(f"{count} {ending}" for ending, count in sorted(left_out.items()))
        line = f"left out {sum(left_out.values())} files that are not read as images: {counts}"
        if HEIC_EXTENSIONS & left_out.keys():
            line += f"; for .heic and .heif, install pillow-heif ({install('pillow_heif')})"
        lines.append(line)
    return lines


def _image_files(folder: Path, left_out: Counter[str]) -> list[str]:
    """Image files below a folder, as paths within it; counts the others by ending."""
    found, start = [], len(str(folder)) + 1
    for path in walk(str(folder)):
        if isinstance(path, Failure):
            raise UserError(f"cannot list {path.path}: {path.reason}")
        if os.path.splitext(path)[1].lower() in EXTENSIONS:  # noqa: PTH122 - a million of them
            found.append(path[start:])
        else:
            left_out[os.path.splitext(path)[1].lower() or "without an ending"] += 1  # noqa: PTH122
    return found
