"""Images with objects, however a tool wrote them: what the readers of other formats give."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from spanetv2.data.header import ImageHeader, read_headers
from spanetv2.data.images import EXTENSIONS, Failure
from spanetv2.data.splits import SPLITS
from spanetv2.data.walk import walk
from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.image_entries import size_fault, whole_pixels

__all__ = [
    "UNLABELLED",
    "Annotated",
    "LabelledData",
    "LabelledImage",
    "LabelledObject",
    "image_sizes",
    "images_below",
    "size_of",
    "splits_of_folder",
]

UNLABELLED = "images without a label file, taken for empty"


class LabelledObject(NamedTuple):
    """An object in pixels of the image as shown."""

    name: str
    """its class"""
    box: tuple[float, float, float, float]
    """left, top, width, height"""
    polygons: tuple[list[float], ...] = ()
    """x and y of each point; none for a box alone"""
    crowd: bool = False
    """whether training goes without it and figures do not count it"""


class LabelledImage(NamedTuple):
    """An image and what is on it."""

    path: Path
    width: int
    """of the image that boxes are for: as shown, unless its file of annotations says as stored"""
    height: int
    """of the same"""
    objects: list[LabelledObject]


class Annotated(NamedTuple):
    """What a file says of its image."""

    source: Path
    """the file"""
    image: Path
    size: tuple[int, int] | None
    """width and height that it gives the image, where it does"""
    objects: list[LabelledObject]


@dataclass(kw_only=True)
class LabelledData:
    """A data set.

    Args:
        splits: images by split; "" for those that are not split.
        classes: names in the tool's order.
        remarks: what was passed over -> number.
        firsts: what was passed over -> the first of it.
    """

    splits: dict[str, list[LabelledImage]] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)
    firsts: dict[str, str] = field(default_factory=dict)

    def remark(self, what: str, first: object) -> None:
        """Count something that was passed over; the first is named."""
        self.remarks[what] += 1
        self.firsts.setdefault(what, str(first))

    def remark_lines(self) -> list[str]:
        """What was passed over, in a line each."""
        return [
            f"{count:,} {what}"
            + (f"; the first: {self.firsts[what]}" if what in self.firsts else "")
            for what, count in self.remarks.items()
            if count
        ]

    def take(
        self,
        read: Sequence[Annotated],
        root: Path,
        splits_of: Callable[[Path], list[str]],
        *,
        listed: bool = False,
    ) -> None:
        """Take images that have a file of annotations each, and those beside them that have none.

        Args:
            read: what the files say.
            root: folder of the data.
            splits_of: names of the splits that a file (of annotations or an image) is of.
            listed: whether lists say that, so that what is of no split is left out; otherwise
                it is left out only where other images are of one.

        Raises:
            UserError: two files are of one image, or an image is not what its file says.
        """
        of_image: dict[Path, Annotated] = {}
        for one in read:
            earlier = of_image.setdefault(_place(one.image), one)
            if earlier is not one:
                raise UserError(
                    f"{one.source}: its image is {one.image}, which is that of {earlier.source}, "
                    "too, expected one file of annotations for each image; mend the name in one"
                )
        folders = {path.parent for path in of_image}
        bare = [path for path in images_below(root) if _place(path) not in of_image]
        beside = [path for path in bare if _place(path).parent in folders]
        for path in bare:
            if _place(path).parent not in folders:
                self.remark("images in folders without an annotated one, passed over", path)
        written = {one.image: one for one in read}
        parts = {one.image: splits_of(one.source) for one in read}
        parts |= {path: splits_of(path) for path in beside}
        if not listed and not any(parts.values()):
            parts = {path: [""] for path in parts}
        where = "list of ImageSets/Main" if listed else "folder named after a split"
        for path, width, height in image_sizes([p for p in parts if parts[p]], written):
            if (said := written.get(path)) is None:
                self.remark(UNLABELLED, path)
            image = LabelledImage(path, width, height, [] if said is None else said.objects)
            for split in parts[path]:
                self.splits.setdefault(split, []).append(image)
        for path in (path for path, splits in parts.items() if not splits):
            self.remark(f"images in no {where}, passed over", path)

    def class_of(self, name: str) -> str:
        """The name, which from here on is a class."""
        if name not in self.classes:
            self.classes.append(name)
        return name


def image_sizes(
    paths: Iterable[Path], written: Mapping[Path, Annotated] | None = None
) -> Iterator[tuple[Path, int, int]]:
    """Width and height of images as shown, or as stored where their annotations are for that.

    Args:
        paths: of the images.
        written: what files say of them, where they do.

    Raises:
        UserError: one cannot be read, or is not of the size that its annotations are for.
    """
    listed = list(paths)
    for path, header in zip(listed, read_headers(listed), strict=True):
        if not isinstance(header, ImageHeader):
            raise UserError(f"{header}; mend the file or take it away with its labels")
        said = (written or {}).get(path)
        if said is None or said.size is None:
            yield path, *header.shown
            continue
        if fault := size_fault(header, said.size, str(said.source)):
            raise UserError(f"{path}: {fault}; mend the size there, or take the right image")
        yield path, *said.size


def images_below(folder: Path) -> list[Path]:
    """Image files in a folder and below it, sorted."""
    return [
        Path(entry)
        for entry in walk(os.fspath(folder))
        if not isinstance(entry, Failure) and Path(entry).suffix.lower() in EXTENSIONS
    ]


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
    """Width and height as a file writes them, in numbers or text; None where it says neither."""
    try:
        sides = [whole_pixels(float(side)) for side in (width, height)]
    except (TypeError, ValueError):
        return None
    return None if sides[0] is None or sides[1] is None else (sides[0], sides[1])


def splits_of_folder(path: Path, root: Path) -> list[str]:
    """The split that a folder on the way from the root is named after; none without one."""
    folders = {part.lower() for part in path.relative_to(root).parts[:-1]}
    return [split for split, names in SPLITS.items() if folders & set(names)][:1]


def _place(path: Path) -> Path:
    """Where a file lies, however its folder is written or linked."""
    return Path(os.path.realpath(path.parent), path.name)
