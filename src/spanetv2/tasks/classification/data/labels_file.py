"""Images whose classes stand in a CSV file, as Kaggle's sets have them.

A row names an image and its class (``id,breed``), or has a 1 in the column of its class
(``image,MEL,NV``). Images are found below the root by path, by name, or by name without an ending.
"""

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from spanetv2.data.classes import label_table
from spanetv2.data.images import EXTENSIONS, Failure, read_image
from spanetv2.data.preprocessing import Transform
from spanetv2.data.splits import canonical_split
from spanetv2.data.walk import walk
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.folder import PackedNames, natural_order
from spanetv2.tasks.classification.data.source import ImageSource

__all__ = ["LabelsFileSource"]

_IMAGE_COLUMNS = (
    *("image", "filename", "file_name", "file", "filepath", "path", "image_path", "image_name"),
    *("image_id", "img", "id", "name"),
)
_LABEL_COLUMNS = ("label", "class", "category", "target", "species", "breed", "class_name")
_SPLIT_COLUMNS = ("split", "set", "subset", "partition")
_SEVERAL = ("|", ";", ",")


@dataclass(frozen=True)
class _Table:
    """A CSV file: its header, and rows of as many cells."""

    path: Path
    header: list[str]
    rows: list[list[str]]

    def column(self, name: str) -> list[str]:
        place = self.header.index(name)
        return [row[place] for row in self.rows]


class LabelsFileSource(ImageSource):
    """Images below a folder, with their classes in a CSV file.

    Args:
        root: folder of the images.
        labels: the CSV file, with a header.
        split: rows to take where a column tells splits apart; other files give all their rows.
        image_column: column that names images; None finds it.
        label_column: column of the class; None finds it.
        classes: class names in index order. By default, those in the file in natural order.
        transform: applied to every Pillow image.

    Raises:
        UserError: a file that cannot be read, columns that are not found, an image that is missing
            or not the only one of its name, several labels for an image.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        labels: str | os.PathLike[str],
        *,
        split: str = "train",
        image_column: str | None = None,
        label_column: str | None = None,
        classes: Sequence[str] | None = None,
        transform: Transform | None = None,
    ):
        self.root = Path(root)
        if not self.root.is_dir():
            raise UserError(f"got data folder {str(root)!r}, expected a folder of images")
        table = _of_split(_read(Path(labels)), split)
        index = _Images(self.root)
        image = _choose(table, image_column, _IMAGE_COLUMNS, "images", "image_column")
        texts = _classes_of(table, image, label_column)
        paths = [index.find(name, table.path) for name in table.column(image)]
        seen: dict[str, str] = {}
        for path, text in zip(paths, texts, strict=True):
            if path in seen:
                raise UserError(
                    f"got image {path} twice in {table.path} (classes {seen[path]!r} and {text!r}),"
                    " expected one class for each image: data of several labels are not trained on"
                )
            seen[path] = text
        names = list(classes) if classes is not None else sorted({*texts}, key=natural_order)
        present = sorted({*texts}, key=natural_order)
        places = dict(zip(present, label_table(present, names, where=str(table.path)), strict=True))
        super().__init__(
            classes=names,
            labels=np.array([places[text] for text in texts], dtype=np.int64),
            transform=transform,
        )
        packed = PackedNames()
        for path in paths:
            packed.append(path)
        self._names = packed.freeze()
        if rest := len(index) - len(seen):
            self.remarks = [f"{rest} images below {self.root} are in no row of {table.path}"]

    def read(self, index: int) -> Image.Image:
        return read_image(self.location(index))

    def location(self, index: int) -> str:
        return str(self.root / self._names[index])

    def key(self, index: int) -> str:
        return self._names[index]


class _Images:
    """The images below a folder, by path, by name, and by name without an ending."""

    def __init__(self, root: Path):
        self.root = root
        self._paths: set[str] = set()
        self._by_name: dict[str, list[str]] = {}
        start = len(str(root)) + 1
        for found in walk(str(root)):
            if isinstance(found, Failure):
                raise UserError(f"cannot list {found.path}: {found.reason}")
            stem, ending = os.path.splitext(found[start:])  # noqa: PTH122 - a million of them
            if ending.lower() not in EXTENSIONS:
                continue
            path = (stem + ending).replace(os.sep, "/")
            self._paths.add(path)
            for name in {path.rpartition("/")[2], stem.replace(os.sep, "/").rpartition("/")[2]}:
                self._by_name.setdefault(name, []).append(path)

    def __len__(self) -> int:
        return len(self._paths)

    def find(self, text: str, where: Path) -> str:
        """The one image that a cell means, as a path within the root."""
        path = text.replace("\\", "/").removeprefix("./")
        if path in self._paths:
            return path
        found = self._by_name.get(path.rpartition("/")[2], [])
        ends = [p for p in found if f"/{p}".rpartition(".")[0].endswith(f"/{path}")]
        ends += [p for p in found if f"/{p}".endswith(f"/{path}")]
        found = ends or found
        if len(found) == 1:
            return found[0]
        state = f"{len(found)} images of that name" if found else "no such image"
        raise UserError(
            f"got {text!r} in {where} ({state} below {self.root}), expected the path of an image "
            "there; check the root, or name the column (--data.image_column)"
        )


def _read(path: Path) -> _Table:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UserError(
            f"cannot read {path} ({reason.lower()}), expected a CSV file of images and classes"
        ) from None
    lines = [line for line in text.splitlines() if line.strip()]
    separator = max(",;\t", key=lines[0].count) if lines else ","
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=separator)]
    if len(rows) < 2:
        raise UserError(f"got {path} without rows, expected a header and a row for each image")
    header = rows[0]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise UserError(
                f"got {len(row)} cells in row {number} of {path}, expected {len(header)}: "
                f"{', '.join(header)}"
            )
    return _Table(path, header, rows[1:])


def _of_split(table: _Table, split: str) -> _Table:
    named = next((name for name in table.header if name.lower() in _SPLIT_COLUMNS), None)
    if named is None:
        return table
    cells = table.column(named)
    wanted = canonical_split(split)
    rows = [
        row
        for row, cell in zip(table.rows, cells, strict=True)
        if cell == split or canonical_split(cell) == wanted
    ]
    if not rows:
        raise UserError(
            f"got no rows of split {split!r} in column {named} of {table.path}, expected one of "
            f"{', '.join(sorted({*cells})[:5])}; name it, or hold a share out (--data.val_share)"
        )
    return _Table(table.path, table.header, rows)


def _choose(
    table: _Table, column: str | None, usual_names: Sequence[str], what: str, option: str
) -> str:
    names: Mapping[str, str] = {name.lower().replace(" ", "_"): name for name in table.header}
    if column is not None:
        if column not in table.header:
            raise UserError(
                f"got column {column!r} for {what}, expected one of {', '.join(table.header)} "
                f"in {table.path}"
            )
        return column
    found = next((names[name] for name in usual_names if name in names), None)
    if found is None:
        raise UserError(
            f"got {table.path} with the columns {', '.join(table.header[:8])}, of which none is "
            f"known to hold {what}; name it (--data.{option} NAME)"
        )
    return found


def _classes_of(table: _Table, image: str, label: str | None) -> list[str]:
    """The class of every row, as text."""
    others = [name for name in table.header if name != image and name.lower() not in _SPLIT_COLUMNS]
    if label is None and len(others) > 1:
        hot = [[_is_one(row[table.header.index(name)]) for name in others] for row in table.rows]
        if all(None not in row for row in hot):
            for number, row in enumerate(hot, start=2):
                if sum(map(bool, row)) != 1:
                    raise UserError(
                        f"got {sum(map(bool, row))} classes for an image in {table.path} (row "
                        f"{number}), expected one: data of several labels are not trained on; name "
                        "the column of the class (--data.label_column NAME)"
                    )
            return [others[row.index(True)] for row in hot]
    if label is None and len(others) == 1:
        label = others[0]
    texts = table.column(_choose(table, label, _LABEL_COLUMNS, "classes", "label_column"))
    for number, text in enumerate(texts, start=2):
        if not text:
            raise UserError(f"got no class in row {number} of {table.path}, expected one")
    if several := next((t for t in texts if any(mark in t for mark in _SEVERAL)), None):
        raise UserError(
            f"got {several!r} for a class in {table.path}, expected one name: data of several "
            "labels are not trained on"
        )
    return texts


def _is_one(text: str) -> bool | None:
    """Whether a cell says 1, or 0; None for anything else."""
    return {"1": True, "1.0": True, "0": False, "0.0": False}.get(text)
