"""A CSV file of images and classes: its rows, and which column means what."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spanetv2.data.splits import SPLITS, canonical_split, is_split, listed
from spanetv2.errors import UserError
from spanetv2.files import read_text

__all__ = ["SPLIT_COLUMNS", "LabelsTable", "of_split", "read_table", "unknown_splits"]

SPLIT_COLUMNS = ("split", "set", "subset", "partition")
"""Lower-case names of a column that tells splits apart."""

_SHOWN = 5


@dataclass(frozen=True)
class LabelsTable:
    """A CSV file: its header, and rows of as many cells."""

    path: Path
    header: list[str]
    rows: list[list[str]]

    def column(self, name: str) -> list[str]:
        """The cells of a column, from top to bottom."""
        place = self.header.index(name)
        return [row[place] for row in self.rows]

    def usual(self, names: Sequence[str]) -> str | None:
        """The first of some lower-case names that a column goes by, as the file writes it."""
        own: Mapping[str, str] = {name.lower().replace(" ", "_"): name for name in self.header}
        return next((own[name] for name in names if name in own), None)

    def named(self, column: str, what: str) -> str:
        """A column that was asked for.

        Raises:
            UserError: there is none of this name.
        """
        if column not in self.header:
            raise UserError(
                f"got column {column!r} for {what}, expected one of {', '.join(self.header)} "
                f"in {self.path}"
            )
        return column

    def unknown(self, what: str, option: str) -> UserError:
        """What to say where no column is known to hold something."""
        return UserError(
            f"got {self.path} with the columns {', '.join(self.header[:8])}, of which none is "
            f"known to hold {what}; name it (--data.{option} NAME, in other commands "
            f"--{option.replace('_', '-')})"
        )


def read_table(path: Path) -> LabelsTable:
    """Read a CSV file, separated by commas, semicolons or tabs.

    Raises:
        UserError: unreadable, without rows, or a row of other length than the header.
    """
    text = read_text(path, expected="a CSV file of images and classes")
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
    return LabelsTable(path, header, rows[1:])


def of_split(table: LabelsTable, split: str) -> LabelsTable:
    """The rows of a split; all of them where no column tells splits apart.

    Raises:
        UserError: no row is of the split.
    """
    named = table.usual(SPLIT_COLUMNS)
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
    return LabelsTable(table.path, table.header, rows)


def unknown_splits(table: LabelsTable, split: str) -> list[str]:
    """A remark on rows of a split that no part goes by, but for the split that is read."""
    if (named := table.usual(SPLIT_COLUMNS)) is None:
        return []
    counts = Counter(cell for cell in table.column(named) if not is_split(cell) and cell != split)
    if not counts:
        return []
    cells = ", ".join(map(repr, [*counts][:_SHOWN])) + (", ..." if len(counts) > _SHOWN else "")
    return [
        f"{counts.total():,} rows of {table.path} have {named} {cells}, expected "
        f"{listed([*SPLITS])}: no part has them unless it is named so; mend them if one should"
    ]
