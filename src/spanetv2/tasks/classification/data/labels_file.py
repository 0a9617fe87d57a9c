"""Images whose classes stand in a CSV file, as Kaggle's sets have them.

A row names an image and its class or classes; see ``row_labels``. Images are found below the root
by path, by name, or by name without an ending.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spanetv2.data.classes import label_table
from spanetv2.data.images import EXTENSIONS, Failure
from spanetv2.data.preprocessing import Transform
from spanetv2.data.walk import walk
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.folder import natural_order
from spanetv2.tasks.classification.data.labels_table import (
    LabelsTable,
    of_split,
    read_table,
    unknown_splits,
)
from spanetv2.tasks.classification.data.names import PackedNames
from spanetv2.tasks.classification.data.row_labels import RowLabels, read_labels
from spanetv2.tasks.classification.data.source import FileSource

__all__ = ["LabelsFileSource"]

_IMAGE_COLUMNS = (
    *("image", "filename", "file_name", "file", "filepath", "path", "image_path", "image_name"),
    *("image_id", "img", "id", "name"),
)


class LabelsFileSource(FileSource):
    """Images below a folder, with their classes in a CSV file.

    Args:
        root: folder of the images.
        labels: the CSV file, with a header.
        split: rows to take where a column tells splits apart; other files give all their rows.
        image_column: column that names images; None finds it.
        label_column: column of the class, or several with commas between them that are a class
            each; None finds it.
        multi_label: whether images may have several labels, or none; None finds out.
        classes: class names in index order. By default, those in the file in natural order.
        transform: applied to every Pillow image.

    Raises:
        UserError: a file that cannot be read, columns that are not found, images that are missing
            or not the only one of their name, several labels for an image where one is expected.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        labels: str | os.PathLike[str],
        *,
        split: str = "train",
        image_column: str | None = None,
        label_column: str | None = None,
        multi_label: bool | None = None,
        classes: Sequence[str] | None = None,
        transform: Transform | None = None,
    ):
        root = Path(root)
        if not root.is_dir():
            raise UserError(f"got data folder {str(root)!r}, expected a folder of images")
        whole = read_table(Path(labels))
        table = of_split(whole, split)
        image = _image_column(table, image_column)
        said = read_labels(table, image, label=label_column, multi_label=multi_label)
        index = _Images(root)
        paths = index.find_all(table.column(image), table.path)
        found = _by_image(paths, said, table)
        names = list(classes) if classes is not None else sorted(said.classes, key=natural_order)
        super().__init__(
            root,
            PackedNames([*found]),
            classes=names,
            labels=_labels(list(found.values()), said, names, table),
            transform=transform,
        )
        self.remarks = [said.remark] if said.remark else []
        self.remarks += unknown_splits(whole, split)
        named = found if table is whole else index.meant(whole.column(image))
        if rest := len(index) - len(named):
            self.remarks.append(f"{rest} images below {root} are in no row of {table.path}")
        if said.several:
            self.remarks.append(_several(list(found.values())))


def _image_column(table: LabelsTable, column: str | None) -> str:
    if column is not None:
        return table.named(column, "images")
    if (usual := table.usual(_IMAGE_COLUMNS)) is None:
        raise table.unknown("images", "image_column")
    return usual


def _by_image(
    paths: Sequence[str], said: RowLabels, table: LabelsTable
) -> dict[str, tuple[str, ...]]:
    """Classes by image; those of several rows together where images have several."""
    found: dict[str, tuple[str, ...]] = {}
    for path, own in zip(paths, said.rows, strict=True):
        if path in found and not said.several:
            raise UserError(
                f"got image {path} twice in {table.path} (classes {found[path][0]!r} and "
                f"{own[0]!r}), expected one class for each image; where images have several: "
                "--data.multi_label true (in other commands --multi-label)"
            )
        found[path] = tuple(dict.fromkeys((*found.get(path, ()), *own)))
    return found


def _labels(
    rows: Sequence[tuple[str, ...]], said: RowLabels, classes: Sequence[str], table: LabelsTable
) -> np.ndarray:
    """(N,) class indices, or (N, K) of 0 and 1 where images have several."""
    present = sorted({name for row in rows for name in row}, key=natural_order)
    known = label_table(present, classes, where=str(table.path))
    places = dict(zip(present, known, strict=True))
    if not said.several:
        return np.array([places[row[0]] for row in rows], dtype=np.int64)
    labels = np.zeros((len(rows), len(classes)), dtype=np.uint8)
    for line, row in zip(labels, rows, strict=True):
        line[[places[name] for name in row]] = 1
    return labels


def _several(rows: Sequence[tuple[str, ...]]) -> str:
    many, none = sum(len(row) > 1 for row in rows), sum(not row for row in rows)
    return (
        f"{many:,} of {len(rows):,} images have several labels and {none:,} have none: each class "
        "is a yes or no of its own (multi_label false expects one class an image)"
    )


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

    def meant(self, texts: Sequence[str]) -> set[str]:
        """All images that any of the cells may mean, as paths within the root."""
        return {path for text in texts for path in self._fitting(text)}

    def find_all(self, texts: Sequence[str], where: Path) -> list[str]:
        """The one image that each cell means, as a path within the root.

        Raises:
            UserError: cells that mean none or several; the first is named.
        """
        found = [self._fitting(text) for text in texts]
        wrong = [i for i, paths in enumerate(found) if len(paths) != 1]
        if wrong:
            count = len(found[wrong[0]])
            state = f"{count} images of that name" if count else "no such image"
            more = f" and {len(wrong) - 1:,} rows like it" if len(wrong) > 1 else ""
            raise UserError(
                f"got {texts[wrong[0]]!r} in {where} ({state} below {self.root}){more}, expected "
                "the path of an image there; check the root, or name the column "
                "(--data.image_column, in other commands --image-column)"
            )
        return [paths[0] for paths in found]

    def _fitting(self, text: str) -> list[str]:
        path = text.replace("\\", "/").removeprefix("./")
        if path in self._paths:
            return [path]
        found = self._by_name.get(path.rpartition("/")[2], [])
        ends = [p for p in found if f"/{p}".rpartition(".")[0].endswith(f"/{path}")]
        ends += [p for p in found if f"/{p}".endswith(f"/{path}")]
        return ends or found
