"""Images with objects, however a tool wrote them: what the readers of other formats give."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from spanetv2.data.header import ImageHeader, read_headers
from spanetv2.data.images import EXTENSIONS, Failure
from spanetv2.data.walk import walk
from spanetv2.errors import UserError

__all__ = ["LabelledData", "LabelledImage", "LabelledObject", "image_sizes", "images_below"]


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
    """of the image as shown"""
    height: int
    """of the image as shown"""
    objects: list[LabelledObject]


@dataclass(kw_only=True)
class LabelledData:
    """A data set.

    Args:
        splits: images by split; "" for those that are not split.
        classes: names in the tool's order.
        remarks: what was passed over -> number.
    """

    splits: dict[str, list[LabelledImage]] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    remarks: Counter[str] = field(default_factory=Counter)

    def class_of(self, name: str) -> str:
        """The name, which from here on is a class."""
        if name not in self.classes:
            self.classes.append(name)
        return name


def image_sizes(paths: Iterable[Path]) -> Iterator[tuple[Path, int, int]]:
    """Width and height of images as shown.

    Raises:
        UserError: one cannot be read.
    """
    listed = list(paths)
    for path, header in zip(listed, read_headers(listed), strict=True):
        if not isinstance(header, ImageHeader):
            raise UserError(f"{header}; mend the file or take it away with its labels")
        yield path, *header.shown


def images_below(folder: Path) -> list[Path]:
    """Image files in a folder and below it, sorted."""
    return [
        Path(entry)
        for entry in walk(os.fspath(folder))
        if not isinstance(entry, Failure) and Path(entry).suffix.lower() in EXTENSIONS
    ]
