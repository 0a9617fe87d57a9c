"""A goal: what is compared with what, the figure, and the bound that it is to reach."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from spanetv2.benchmark.timing import speed_ratio
from spanetv2.deploy.runtimes import RUNTIMES

__all__ = [
    "FASTEST",
    "MEMORY",
    "PIXEL_TIME",
    "SPEED",
    "Goal",
    "Measure",
    "Record",
    "Where",
    "compare",
]

FASTEST = "fastest"
Record = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which cell of which records: fields of the row that must have these values.

    With mode ``FASTEST`` the fastest mode counts, in records that have every runtime.
    """

    kind: str = "networks"
    device: str = "cpu"
    model: str
    mode: str = "compiled"
    work: str = "inference"
    dtype: str = "float32"
    batch: int | None = 8
    size: int | None = 224
    side: int | None = None

    def find(self, record: Record) -> Row | None:
        """The row of a record, or None."""
        device = record["settings"]["device"].partition(":")[0]
        if (record["kind"], device) != (self.kind, self.device) or "superseded" in record:
            return None
        wanted = {
            name: value
            for name in ("model", "mode", "work", "dtype", "batch", "size", "side")
            if (value := getattr(self, name)) not in (None, FASTEST)
        }
        rows = [
            row
            for row in record["cells"]
            if all(row.get(name) == value for name, value in wanted.items())
        ]
        if self.mode != FASTEST:
            return next(iter(rows), None)
        if not {"frozen", *RUNTIMES} <= {row["mode"] for row in rows}:
            return None
        return min(rows, key=lambda row: row["median_s"])


class Measure(NamedTuple):
    """A figure of two rows, the judged one and what it is compared with."""

    of: Callable[[Row, Row], float | None]
    """None if the rows do not have it."""
    at_least: bool = False
    """Whether the figure must be at least, or at most, the bound."""
    show: str = ".2f"
    """Format of figure and bound."""


def _memory(judged: Row, other: Row) -> float | None:
    if "memory_mib" not in judged or "memory_mib" not in other:
        return None
    return judged["memory_mib"] / other["memory_mib"]


def _pixel_time(judged: Row, other: Row) -> float:
    def pixels(row: Row) -> int:
        return row["batch"] * row["size"] ** 2

    return pixels(other) / pixels(judged) / speed_ratio(judged["seconds"], other["seconds"])


SPEED = Measure(lambda judged, other: speed_ratio(judged["seconds"], other["seconds"]), True)
MEMORY = Measure(_memory)
PIXEL_TIME = Measure(_pixel_time)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One thing to reach.

    Args:
        text: what, in words.
        judged: the cell that is judged.
        other: the cell it is compared with.
        measure: the figure.
        bound: the figure to reach.
    """

    text: str
    judged: Where
    other: Where
    measure: Measure
    bound: float

    def value(self, records: Sequence[Record]) -> float | None:
        """The figure from the latest record that has it."""
        for record in sorted(records, key=lambda record: record["started"], reverse=True):
            judged, other = self.judged.find(record), self.other.find(record)
            if judged is not None and other is not None:
                figure = self.measure.of(judged, other)
                if figure is not None:
                    return figure
        return None

    def reached(self, value: float) -> bool:
        """Whether a figure reaches the bound."""
        return value >= self.bound if self.measure.at_least else value <= self.bound


def compare(text: str, judged: Where, bound: float, measure: Measure = SPEED, **other: Any) -> Goal:
    """A goal for a cell beside another one, of which the fields that differ are named."""
    return Goal(
        text=text, judged=judged, other=replace(judged, **other), measure=measure, bound=bound
    )
