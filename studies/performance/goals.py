"""What the fast implementations are meant to reach, and what records say about it.

A goal compares two cells of one record (so that their times come from the same rounds), or an
operator with its floor. Where several records have them, the latest counts; one that says what its
code was superseded by does not.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from spanetv2.table import Table
from studies.performance.goal import (
    FASTEST,
    MEMORY,
    PIXEL_TIME,
    Goal,
    Record,
    Where,
    compare,
)
from studies.performance.gpu_goals import GPU_GOALS

__all__ = ["GOALS", "PROCESSOR_GOALS", "Goal", "goals_table", "processors_table"]

_PURE, _HYBRID = Where(model="spanetv2_s18_pure"), Where(model="spanetv2_s18_hybrid")
_REFERENCE, _PEER = "spanetv2_s18_pure@reference", "convformer_s18"
_TRAINED, _EAGER = replace(_PURE, work="training"), replace(_PURE, mode="eager")
_CPU = "CPU, float32, batch 8, compiled"

GOALS = [
    compare(f"{_CPU}, inference: S18 pure / convformer_s18", _PURE, 1.0, model=_PEER),
    compare(f"{_CPU}, inference: S18 pure / reference path", _PURE, 1.4, model=_REFERENCE),
    compare(f"{_CPU}, inference: S18 hybrid / caformer_s18", _HYBRID, 1.0, model="caformer_s18"),
    compare(
        "CPU, float32, batch 8, eager, inference: S18 pure / reference path",
        *(_EAGER, 1.3),
        model=_REFERENCE,
    ),
    compare(
        "CPU, batch 8, compiled, inference: S18 pure in bfloat16 / in float32",
        *(replace(_PURE, dtype="bfloat16"), 1.3),
        dtype="float32",
    ),
    *(
        compare(
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
    compare(
        "CPU, bfloat16, batch 8, frozen, inference: S18 pure / convformer_s18",
        *(replace(_PURE, mode="frozen", dtype="bfloat16"), 0.85),
        model=_PEER,
    ),
    compare(f"{_CPU}, training: S18 pure / convformer_s18", _TRAINED, 0.95, model=_PEER),
    compare(
        f"{_CPU}, inference: memory of S18 pure / of convformer_s18",
        *(_PURE, 1.0, MEMORY),
        model=_PEER,
    ),
    compare(
        f"{_CPU}, training: memory of S18 pure / of convformer_s18",
        *(_TRAINED, 1.1, MEMORY),
        model=_PEER,
    ),
    *(
        compare(
            f"CPU, float32, {start.mode}, inference: time per pixel of S18 pure, 1024 / 224",
            *(replace(start, batch=None, size=1024), 1.3, PIXEL_TIME),
            size=224,
        )
        for start in (_EAGER, _PURE)
    ),
    *GPU_GOALS,
]
_FOLDED = "spanetv2_s18_pure@optimized"
PROCESSOR_GOALS = [
    compare("compiled: S18 pure / convformer_s18", _PURE, 0.85, model=_PEER),
    compare("... optimised", replace(_PURE, model=_FOLDED), 0.85, model=_PEER),
    compare("compiled: S18 hybrid / caformer_s18", _HYBRID, 0.85, model="caformer_s18"),
    compare("... of one image: S18 pure", replace(_PURE, batch=1), 0.85, model=_PEER),
    compare("... optimised", replace(_PURE, model=_FOLDED, batch=1), 0.85, model=_PEER),
    compare("... memory: S18 pure", _PURE, 1.05, MEMORY, model=_PEER),
    compare("eager: S18 pure / convformer_s18", _EAGER, 0.9, model=_PEER),
    compare(
        "eager: S18 hybrid / caformer_s18",
        *(replace(_HYBRID, mode="eager"), 0.9),
        model="caformer_s18",
    ),
    compare("compiled training: S18 pure / convformer_s18", _TRAINED, 1.0, model=_PEER),
    compare("... memory", _TRAINED, 1.05, MEMORY, model=_PEER),
]
"""Speed in float32 of 8 images of 224 x 224 pixels, unless said otherwise."""
_OTHER_WAYS = {
    "@optimized": "... the same, optimised for inference",
    "_optimized": "... the same, optimised for inference",  # behind a way that has its @
}


def goals_table(records: Sequence[Record], goals: Sequence[Goal] = GOALS) -> Table:
    """Every goal with its figure and verdict; what no record has is "not measured".

    Where a network was measured with another implementation too, that has a row of its own below.
    """
    rows = []
    for goal in goals:
        rows.append(_row(goal, goal.value(records)))
        for how, text in _OTHER_WAYS.items():
            judged = replace(goal.judged, model=f"{goal.judged.model}{how}")
            other = replace(goal, text=text, judged=judged)
            if (value := other.value(records)) is not None:
                rows.append(_row(other, value))
    return Table("Goals", ["goal", "bound", "measured", "verdict"], rows)


def _row(goal: Goal, value: float | None) -> list[str]:
    show = goal.measure.show
    bound = f"{'>=' if goal.measure.at_least else '<='} {goal.bound:{show}}"
    if value is None:
        return [goal.text, bound, "", "not measured"]
    return [goal.text, bound, f"{value:{show}}", "reached" if goal.reached(value) else "missed"]


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
