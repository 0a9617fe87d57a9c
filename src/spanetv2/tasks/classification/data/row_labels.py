"""The classes that the rows of a CSV file name, however they are written.

One name a row (``id,breed``); several in a cell (``cat|dog``, ``scab rust``, ``['cat', 'dog']``); a
column of 0 and 1 for each class (``image,MEL,NV``).
"""

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.labels_table import SPLIT_COLUMNS, LabelsTable

__all__ = ["RowLabels", "read_labels"]

_LABEL_COLUMNS = (
    *("label", "class", "category", "target", "species", "breed", "class_name"),
    *("labels", "tags", "classes", "categories", "attribute_ids", "attributes"),
)
_SPACED = ("tags", "attribute_ids", "attributes")
"""Columns whose cells are parted at spaces."""
_ONE = {"1": True, "1.0": True, "true": True, "yes": True}
_ZERO = {"0": False, "0.0": False, "false": False, "no": False}
_HOT = _ONE | _ZERO
_MANY = "--data.multi_label true (in other commands --multi-label)"


class RowLabels(NamedTuple):
    """What every row says."""

    rows: list[tuple[str, ...]]
    """classes by row"""
    classes: list[str]
    """all names, in no order; where classes are columns, those without a 1 too"""
    several: bool
    """whether images have several labels, or none"""
    remark: str = ""
    """what a user should know about how they were read"""


def read_labels(
    table: LabelsTable, image: str, *, label: str | None = None, multi_label: bool | None = None
) -> RowLabels:
    """Find the classes of every row.

    Args:
        table: the rows.
        image: the column that names images.
        label: the column of classes, or several with commas between them; None finds it.
        multi_label: whether rows may name several classes, or none; None finds out.

    Raises:
        UserError: columns that are not found, or rows that do not name one class where each must.
    """
    others = [name for name in table.header if name != image and name.lower() not in SPLIT_COLUMNS]
    columns = _columns(table, others, label)
    if len(columns) > 1:
        left = [name for name in others if name not in columns]
        return _from_columns(table, columns, left, named=label is not None, wanted=multi_label)
    return _from_cells(table, columns[0], wanted=multi_label)


def _columns(table: LabelsTable, others: Sequence[str], label: str | None) -> list[str]:
    """The column of classes, or several that are a class each."""
    if label is not None:
        if label in table.header or "," not in label:
            return [table.named(label, "classes")]
        return [table.named(part.strip(), "classes") for part in label.split(",")]
    hot = [name for name in others if _are_hot(table.column(name))]
    if len(hot) > 1 and len(hot) == len(others):
        return hot
    usual = next(
        (name for known in _LABEL_COLUMNS for name in others if _plain(name) == known), None
    )
    if usual is not None:
        return [usual]
    if len(others) == 1:
        return list(others)
    if len(hot) > 1:
        return hot
    raise table.unknown("classes", "label_column")


def _plain(name: str) -> str:
    return name.lower().replace(" ", "_")


def _are_hot(cells: Iterable[str]) -> bool:
    values = {cell.lower() for cell in cells}
    # 1 and -1, as CelebA has it; beside a 0, -1 means that nobody knows
    return values <= _HOT.keys() or values <= {"-1", "1"}


# a column for each class -------------------------------------------------------------------------


def _from_columns(
    table: LabelsTable,
    columns: Sequence[str],
    left: Sequence[str],
    *,
    named: bool,
    wanted: bool | None,
) -> RowLabels:
    blanks = 0
    for name in columns:
        cells = table.column(name)
        blanks += cells.count("")
        if not _are_hot(cell for cell in cells if cell or not named):
            odd = next(cell for cell in cells if cell.lower() not in _HOT)
            raise UserError(
                f"got {odd!r} in column {name} of {table.path}, expected 1 or 0 for each image; "
                "write one of them, or leave the column out"
            )
    places = [table.header.index(name) for name in columns]
    rows = [
        tuple(
            name for name, place in zip(columns, places, strict=True) if row[place].lower() in _ONE
        )
        for row in table.rows
    ]
    odd = next((number for number, row in enumerate(rows, start=2) if len(row) != 1), None)
    if odd is not None and wanted is False:
        raise UserError(
            f"got {len(rows[odd - 2])} classes for an image in {table.path} (row {odd}), expected "
            f"one; where images have several, or none: {_MANY}"
        )
    parts = [f"classes are the columns {_few(columns)}"] if left else []
    parts += [f"columns left out: {_few(left)}"] if left else []
    parts += [f"{blanks} empty cells are taken for 0"] if blanks else []
    several = odd is not None if wanted is None else wanted
    return RowLabels(rows, list(columns), several, "; ".join(parts))


# a column of names -------------------------------------------------------------------------------


def _from_cells(table: LabelsTable, column: str, *, wanted: bool | None) -> RowLabels:
    cells = table.column(column)
    divide = None
    if wanted is not False:
        divide = _divider({*cells}, spaced=_plain(column) in _SPACED)
    several = divide is not None if wanted is None else wanted
    if not several:
        _refuse_empty(table, cells)
        return RowLabels([(cell,) for cell in cells], [*{*cells}], False)
    split = divide or (lambda cell: [cell] if cell else [])
    rows = [tuple(dict.fromkeys(split(cell))) for cell in cells]
    return RowLabels(rows, [*{name for row in rows for name in row}], True)


def _refuse_empty(table: LabelsTable, cells: Sequence[str]) -> None:
    for number, text in enumerate(cells, start=2):
        if not text:
            raise UserError(
                f"got no class in row {number} of {table.path}, expected one; where images may "
                f"have none: {_MANY}"
            )


def _divider(cells: set[str], *, spaced: bool) -> Callable[[str], list[str]] | None:
    """What takes a cell's names apart; None where cells are one name each.

    A comma is part of a name (``tench, Tinca tinca``) unless what it parts occurs in other cells,
    too. A space is (``tabby cat``) unless all names are numbers, fewer names than cells come out of
    it, or the column is one of tags.
    """
    filled = [cell for cell in cells if cell]
    if filled and all(cell[0] == "[" and cell[-1] == "]" for cell in filled):
        return _listed
    for mark in ("|", ";"):
        if any(mark in cell for cell in filled):
            return _parting(mark)
    commas, spaces = _parting(","), _parting(None)
    names = Counter(name for cell in filled for name in {*commas(cell)})
    if any(len(own := commas(cell)) > 1 and max(names[n] for n in own) > 1 for cell in filled):
        return commas
    words = {word for cell in filled for word in spaces(cell)}
    parted = any(len(spaces(cell)) > 1 for cell in filled)
    numbers = all(word.isdigit() for word in words)
    return spaces if parted and (spaced or numbers or len(words) < len(filled)) else None


def _parting(mark: str | None) -> Callable[[str], list[str]]:
    return lambda cell: [name.strip() for name in cell.split(mark) if name.strip()]


def _listed(cell: str) -> list[str]:
    """``['cat', 'dog']`` or ``[cat, dog]``, as programs print lists."""
    try:
        return [str(name) for name in ast.literal_eval(cell or "[]")]
    except (ValueError, SyntaxError):
        return [name.strip(" '\"") for name in cell[1:-1].split(",") if name.strip(" '\"")]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
