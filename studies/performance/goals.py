"""What the fast implementations are meant to reach, and what records say about it.

A goal compares two cells of one record (so that their times come from the same rounds), or an
operator with its floor. Where several records have them, the latest counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from spanetv2.benchmark.timing import speed_ratio
from spanetv2.deploy.runtimes import RUNTIMES
from spanetv2.table import Table

__all__ = ["GOALS", "PROCESSOR_GOALS", "Goal", "goals_table", "processors_table"]

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


def _memory(judged: Row, other: Row) -> float | None:
    if "memory_mib" not in judged or "memory_mib" not in other:
        return None
    return judged["memory_mib"] / other["memory_mib"]


def _pixel_time(judged: Row, other: Row) -> float:
    def pixels(row: Row) -> int:
        return row["batch"] * row["size"] ** 2

    return pixels(other) / pixels(judged) / speed_ratio(judged["seconds"], other["seconds"])


_SPEED = Measure(lambda judged, other: speed_ratio(judged["seconds"], other["seconds"]), True)
_MEMORY = Measure(_memory)
_PIXEL_TIME = Measure(_pixel_time)
_OVER_FLOOR = Measure(lambda judged, other: judged["median_s"] / other["memory_floor_s"])


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


def _goal(text: str, judged: Where, bound: float, measure: Measure = _SPEED, **other: Any) -> Goal:
    """A goal for a cell beside another one, of which the fields that differ are named."""
    return Goal(
        text=text, judged=judged, other=replace(judged, **other), measure=measure, bound=bound
    )


_PURE, _HYBRID = Where(model="spanetv2_s18_pure"), Where(model="spanetv2_s18_hybrid")
_REFERENCE, _PEER = "spanetv2_s18_pure@reference", "convformer_s18"
_TRAINED, _EAGER = replace(_PURE, work="training"), replace(_PURE, mode="eager")
_FUSED = Where(
    kind="operators",
    device="cuda",
    model="local@fused",
    mode="eager",
    dtype="bfloat16",
    batch=128,
)
_CPU = "CPU, float32, batch 8, compiled"

GOALS = [
    _goal(f"{_CPU}, inference: S18 pure / convformer_s18", _PURE, 1.0, model=_PEER),
    _goal(f"{_CPU}, inference: S18 pure / reference path", _PURE, 1.4, model=_REFERENCE),
    _goal(f"{_CPU}, inference: S18 hybrid / caformer_s18", _HYBRID, 1.0, model="caformer_s18"),
    _goal(
        "CPU, float32, batch 8, eager, inference: S18 pure / reference path",
        *(_EAGER, 1.3),
        model=_REFERENCE,
    ),
    _goal(
        "CPU, batch 8, compiled, inference: S18 pure in bfloat16 / in float32",
        *(replace(_PURE, dtype="bfloat16"), 1.3),
        dtype="float32",
    ),
    *(
        _goal(
            "CPU, float32, batch 8, inference, the fastest of PyTorch, ONNX Runtime and OpenVINO: "
            f"{words} / {peer}",
            *(replace(start, mode=FASTEST), 0.9),
            model=peer,
        )
        for words, start, peer in (
            ("S18 pure", _PURE, _PEER),
            ("S18 hybrid", _HYBRID, "caformer_s18"),
        )
    ),
    _goal(
        "CPU, bfloat16, batch 8, frozen, inference: S18 pure / convformer_s18",
        *(replace(_PURE, mode="frozen", dtype="bfloat16"), 0.85),
        model=_PEER,
    ),
    _goal(f"{_CPU}, training: S18 pure / convformer_s18", _TRAINED, 0.95, model=_PEER),
    _goal(
        f"{_CPU}, inference: memory of S18 pure / of convformer_s18",
        *(_PURE, 1.0, _MEMORY),
        model=_PEER,
    ),
    _goal(
        f"{_CPU}, training: memory of S18 pure / of convformer_s18",
        *(_TRAINED, 1.1, _MEMORY),
        model=_PEER,
    ),
    *(
        _goal(
            f"CPU, float32, {start.mode}, inference: time per pixel of S18 pure, 1024 / 224",
            *(replace(start, batch=None, size=1024), 1.3, _PIXEL_TIME),
            size=224,
        )
        for start in (_EAGER, _PURE)
    ),
    *(
        _goal(
            f"GPU, bfloat16, batch 128, compiled, {start.work}: S18 pure / {words}",
            *(replace(start, device="cuda", dtype="bfloat16", batch=128), bound),
            model=model,
        )
        for start in (_PURE, _TRAINED)
        for words, bound, model in ((_PEER, 1.0, _PEER), ("reference path", 2.0, _REFERENCE))
    ),
    *(
        _goal(
            "GPU, bfloat16, batch 128: time of the fused operator / its memory floor, "
            f"{side} x {side}",
            *(replace(_FUSED, side=side), 2.0, _OVER_FLOOR),
        )
        for side in (56, 28, 14)
    ),
]
_FOLDED = "spanetv2_s18_pure@optimized"
PROCESSOR_GOALS = [
    _goal("compiled: S18 pure / convformer_s18", _PURE, 0.85, model=_PEER),
    _goal("... optimised", replace(_PURE, model=_FOLDED), 0.85, model=_PEER),
    _goal("compiled: S18 hybrid / caformer_s18", _HYBRID, 0.85, model="caformer_s18"),
    _goal("... of one image: S18 pure", replace(_PURE, batch=1), 0.85, model=_PEER),
    _goal("... optimised", replace(_PURE, model=_FOLDED, batch=1), 0.85, model=_PEER),
    _goal("... memory: S18 pure", _PURE, 1.05, _MEMORY, model=_PEER),
    _goal("eager: S18 pure / convformer_s18", _EAGER, 0.9, model=_PEER),
    _goal(
        "eager: S18 hybrid / caformer_s18",
        *(replace(_HYBRID, mode="eager"), 0.9),
        model="caformer_s18",
    ),
    _goal("compiled training: S18 pure / convformer_s18", _TRAINED, 1.0, model=_PEER),
    _goal("... memory", _TRAINED, 1.05, _MEMORY, model=_PEER),
]
"""Speed in float32 of 8 images of 224 x 224 pixels, unless said otherwise."""
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
            judged = replace(goal.judged, model=f"{goal.judged.model}@{how}")
            other = replace(goal, text=text, judged=judged)
            if (value := other.value(records)) is not None:
                rows.append(_row(other, value))
    return Table("Goals", ["goal", "bound", "measured", "verdict"], rows)


def _row(goal: Goal, value: float | None) -> list[str]:
    bound = f"{'>=' if goal.measure.at_least else '<='} {goal.bound:.2f}"
    if value is None:
        return [goal.text, bound, "", "not measured"]
    return [goal.text, bound, f"{value:.2f}", "reached" if goal.reached(value) else "missed"]


def processors_table(records: Sequence[Record], goals: Sequence[Goal] = PROCESSOR_GOALS) -> Table:
    """The goals on every kind of CPU that was measured, one beside the other."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record["settings"]["device"] == "cpu":
            groups.setdefault(_kind(record["hardware"]), []).append(record)
    rows = []
    for goal in goals:
        bound = f"{'>=' if goal.measure.at_least else '<='} {goal.bound:.2f}"
        rows.append([goal.text, bound])
        for group in groups.values():
            value = goal.value(group)
            verdict = "" if value is None else "reached" if goal.reached(value) else "missed"
            rows[-1].append("not measured" if value is None else f"{value:.2f}, {verdict}")
    return Table("CPUs side by side", ["goal", "bound", *groups], rows)


def _kind(hardware: dict[str, Any]) -> str:
    if "kind" in hardware:
        return hardware["kind"]
    widest = "avx512f" if "avx512f" in hardware.get("instructions", ()) else ""
    return f"{hardware['processor'].partition('(')[0]} {widest}".strip()  # before kinds were kept
