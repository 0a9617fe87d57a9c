"""What the reports of a classifier's figures have in common, with one label an image or several."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from spanetv2.table import Table
from spanetv2.text import shorten

__all__ = ["class_lines", "closing_line"]

_ROWS = 100


class _Counted(Protocol):
    @property
    def images(self) -> int: ...


class _Measured(Protocol):
    @property
    def images(self) -> int: ...

    @property
    def loss(self) -> float: ...

    @property
    def images_per_second(self) -> float: ...


def class_lines(
    titles: Sequence[str],
    per_class: Sequence[_Counted],
    figures: dict[str, Callable[[Any], str]],
) -> list[str]:
    """A table of the classes that occur, and how many it leaves out.

    Args:
        titles: names of all classes.
        per_class: a row of figures for each.
        figures: what a column shows of a row, by its heading.
    """
    present = _present(per_class)
    rows = [
        [shorten(titles[i]), str(per_class[i].images), *(f(per_class[i]) for f in figures.values())]
        for i in present[:_ROWS]
    ]
    lines = [Table("", ["class", "images", *figures], rows).text().rstrip()]
    if len(present) > _ROWS:
        lines.append(f"... and {len(present) - _ROWS} more classes (all in --json)")
    return lines


def closing_line(result: _Measured, per_class: Sequence[_Counted], headline: str) -> str:
    """Images, classes and figures of the whole data set."""
    present = _present(per_class)
    missing = len(per_class) - len(present)
    note = f" ({missing} of the model's classes have no images here)" if missing else ""
    return (
        f"\n{result.images} images, {len(present)} classes{note}\n"
        f"{headline}   loss {result.loss:.4f}   {result.images_per_second:.1f} images/s"
    )


def _present(per_class: Sequence[_Counted]) -> list[int]:
    return [i for i, row in enumerate(per_class) if row.images]
