"""What the fast implementations are meant to reach, and what records say about it.

A goal compares two cells of one record (so that their times come from the same rounds), or an
operator with its floor. Where several records have them, the latest counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from spanetv2.benchmark.timing import speed_ratio
from spanetv2.table import Table

__all__ = ["GOALS", "Goal", "goals_table"]

Record = dict[str, Any]
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Where:
    """Which cell of which records: fields of the row that must have these values."""

    kind: str = "networks"
    device: str = "cpu"
    model: str
    mode: str = "compiled"
    work: str = "inference"
    dtype: str = "float32"
    batch: int | None = 8
    size: int = 224
    side: int | None = None

    def find(self, record: Record) -> Row | None:
        """The row of a record, or None."""
        device = record["settings"]["device"].partition(":")[0]
        if (record["kind"], device) != (self.kind, self.device):
            return None
        wanted = {
            name: value
            for name in ("model", "mode", "work", "dtype", "batch", "size", "side")
            if (value := getattr(self, name)) is not None
        }
        for row in record["cells"]:
            if all(row.get(name) == value for name, value in wanted.items()):
                return row
        return None


def _speed(own: Row, other: Row) -> float:
    return speed_ratio(own["seconds"], other["seconds"])


def _memory(own: Row, other: Row) -> float | None:
    if "memory_mib" not in own or "memory_mib" not in other:
        return None
    return own["memory_mib"] / other["memory_mib"]


def _pixel_time(own: Row, other: Row) -> float:
    def pixels(row: Row) -> int:
        return row["batch"] * row["size"] ** 2

    return pixels(other) / pixels(own) / speed_ratio(own["seconds"], other["seconds"])


def _over_floor(own: Row, other: Row) -> float:
    return own["median_s"] / other["memory_floor_s"]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One thing to reach.

    Args:
        text: what, in words.
        own: what is judged.
        other: what it is compared with.
        measure: gives the figure from the two rows; None if they do not have it.
        bound: the figure to reach.
        at_least: whether the figure must be at least, or at most, the bound.
    """

    text: str
    own: Where
    other: Where
    measure: Callable[[Row, Row], float | None]
    bound: float
    at_least: bool = True

    def value(self, records: Sequence[Record]) -> float | None:
        """The figure from the latest record that has it."""
        for record in sorted(records, key=lambda record: record["started"], reverse=True):
            own, other = self.own.find(record), self.other.find(record)
            if own is not None and other is not None:
                found = self.measure(own, other)
                if found is not None:
                    return found
        return None

    def reached(self, value: float) -> bool:
        """Whether a figure reaches the bound."""
        return value >= self.bound if self.at_least else value <= self.bound


_PURE, _HYBRID = "spanetv2_s18_pure", "spanetv2_s18_hybrid"


def _versus(
    text: str,
    model: str,
    peer: str,
    bound: float,
    *,
    measure: Callable[[Row, Row], float | None] = _speed,
    at_least: bool = True,
    **where: Any,
) -> Goal:
    return Goal(
        text=text,
        own=Where(model=model, **where),
        other=Where(model=peer, **where),
        measure=measure,
        bound=bound,
        at_least=at_least,
    )


def _goals() -> list[Goal]:
    reference = f"{_PURE}@reference"
    memory: dict[str, Any] = {"measure": _memory, "at_least": False}
    cpu = "CPU, float32, batch 8, compiled"
    goals = [
        _versus(f"{cpu}, inference: S18 pure / convformer_s18", _PURE, "convformer_s18", 1.0),
        _versus(f"{cpu}, inference: S18 pure / reference path", _PURE, reference, 1.4),
        _versus(f"{cpu}, inference: S18 hybrid / caformer_s18", _HYBRID, "caformer_s18", 1.0),
        _versus(
            "CPU, float32, batch 8, eager, inference: S18 pure / reference path",
            *(_PURE, reference, 1.3),
            mode="eager",
        ),
        Goal(
            text="CPU, batch 8, compiled, inference: S18 pure in bfloat16 / in float32",
            own=Where(model=_PURE, dtype="bfloat16"),
            other=Where(model=_PURE),
            measure=_speed,
            bound=1.3,
        ),
        _versus(
            f"{cpu}, training: S18 pure / convformer_s18",
            *(_PURE, "convformer_s18", 0.95),
            work="training",
        ),
        _versus(
            f"{cpu}, inference: memory of S18 pure / of convformer_s18",
            *(_PURE, "convformer_s18", 1.0),
            **memory,
        ),
        _versus(
            f"{cpu}, training: memory of S18 pure / of convformer_s18",
            *(_PURE, "convformer_s18", 1.1),
            work="training",
            **memory,
        ),
    ]
    for mode in ("eager", "compiled"):
        goals.append(
            Goal(
                text=f"CPU, float32, {mode}, inference: time per pixel of S18 pure, 1024 / 224",
                own=Where(model=_PURE, mode=mode, batch=None, size=1024),
                other=Where(model=_PURE, mode=mode, batch=None),
                measure=_pixel_time,
                bound=1.3,
                at_least=False,
            )
        )
    for work in ("inference", "training"):
        gpu: dict[str, Any] = {"device": "cuda", "dtype": "bfloat16", "batch": 128, "work": work}
        start = f"GPU, bfloat16, batch 128, compiled, {work}"
        goals += [
            _versus(f"{start}: S18 pure / convformer_s18", _PURE, "convformer_s18", 1.0, **gpu),
            _versus(f"{start}: S18 pure / reference path", _PURE, reference, 2.0, **gpu),
        ]
    for side in (56, 28, 14):
        fused = Where(
            kind="operators",
            device="cuda",
            model="local@fused",
            mode="eager",
            dtype="bfloat16",
            batch=128,
            side=side,
        )
        goals.append(
            Goal(
                text=f"GPU, bfloat16, batch 128: time of the fused operator / its memory floor, "
                f"{side} x {side}",
                own=fused,
                other=fused,
                measure=_over_floor,
                bound=2.0,
                at_least=False,
            )
        )
    return goals


GOALS = _goals()
_OTHER_WAYS = {
    "optimized": "... the same, optimised for inference",
    "fused": "... the same, with the fused operator",
}


def goals_table(records: Sequence[Record], goals: Sequence[Goal] = GOALS) -> Table:
    """Every goal with its figure and verdict; what no record has is "not measured".

    Where a network was measured with another implementation too, that has a row of its own below.
    """
    rows = []
    for goal in goals:
        rows.append(_row(goal, goal.value(records)))
        for how, text in _OTHER_WAYS.items():
            other = replace(goal, text=text, own=replace(goal.own, model=f"{goal.own.model}@{how}"))
            if (value := other.value(records)) is not None:
                rows.append(_row(other, value))
    return Table("Goals", ["goal", "bound", "measured", "verdict"], rows)


def _row(goal: Goal, value: float | None) -> list[str]:
    bound = f"{'>=' if goal.at_least else '<='} {goal.bound:.2f}"
    if value is None:
        return [goal.text, bound, "", "not measured"]
    return [goal.text, bound, f"{value:.2f}", "reached" if goal.reached(value) else "missed"]
