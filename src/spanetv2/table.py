"""Tables of text: for a terminal, and in Markdown."""

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Table", "percent"]


class Table(NamedTuple):
    """A heading, names of the columns, and rows of text."""

    title: str
    """Empty for a table without a heading."""
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1
    """Columns that hold words, the first ones; the others hold numbers and stand to the right."""

    def markdown(self, level: int = 3) -> str:
        """As Markdown.

        Args:
            level: of the heading.

        Example:
            >>> print(Table("Speed", ["model", "ms"], [["a", "1.0"]]).markdown())
            ### Speed
            <BLANKLINE>
            | model | ms |
            |---|--:|
            | a | 1.0 |
            <BLANKLINE>
        """
        heading = ["#" * level + f" {self.title}", ""] if self.title else []
        words = min(self.text_columns, len(self.header))
        rule = "|" + "---|" * words + "--:|" * (len(self.header) - words)
        lines = ["| " + " | ".join(cells) + " |" for cells in (self.header, *self.rows)]
        return "\n".join([*heading, lines[0], rule, *lines[1:], ""])

    def text(self) -> str:
        """For a terminal.

        Example:
            >>> print(Table("Speed", ["model", "ms"], [["a", "1.0"]]).text())
            Speed
            model   ms
            a      1.0
            <BLANKLINE>
        """
        heading = [self.title] if self.title else []
        table = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i < self.text_columns else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
        return "\n".join([*heading, *lines, ""])


def percent(value: float | None, digits: int = 2) -> str:
    """A share as a cell: a percentage without its sign, or a dash where there is none.

    Example:
        >>> percent(0.12345), percent(None)
        ('12.35', '-')
    """
    return "-" if value is None else f"{100 * value:.{digits}f}"
