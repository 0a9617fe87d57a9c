"""Pictures of benchmark records. matplotlib is imported only when one is drawn."""

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from spanetv2.benchmark.tables import describe_machine, mode_title
from spanetv2.drawing import (
    COLOURS,
    GREY,
    LINES,
    MARKERS,
    new_figure,
    save_figure,
    shared_legend,
)
from spanetv2.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw"]

Record = dict[str, Any]

_HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo")
_STYLES = tuple(zip((*COLOURS, GREY), _HATCHES, (*LINES[:4], *LINES[:3]), MARKERS, strict=True))
"""Colour, hatch, line style, marker."""
_SMALL = 8


def draw(record: Record, out_png: str | os.PathLike[str]) -> None:
    """Draw a record: bars at one shape, curves over image sizes or batches, or operators by stage.

    Args:
        record: of ``run_networks`` or ``run_operators``.
        out_png: the picture to write.

    Raises:
        UserError: nothing was measured.
    """
    if not record["cells"]:
        raise UserError("got a benchmark without results, expected at least one to draw")
    if record["kind"] == "operators":
        figure = _operators(record)
    elif len({(row["batch"], row["size"]) for row in record["cells"]}) > 1:
        figure = _sweep(record)
    else:
        figure = _bars(record)
    figure.suptitle(_title(record), fontsize=_SMALL + 1)
    save_figure(figure, out_png)


def _title(record: Record) -> str:
    """The machine, and what all of the picture has in common."""
    parts, cells = [describe_machine(record)], record["cells"]
    conditions = set(map(_condition, cells))
    if record["kind"] == "networks" and len(conditions) == 1:
        parts += conditions
    shapes = {(row["batch"], row["size"]) for row in cells}
    if record["kind"] == "networks" and len(shapes) == 1:
        ((batch, size),) = shapes
        parts.append(f"batch {batch}, {size} x {size}")
    return "; ".join(parts)


def _works(record: Record) -> list[str]:
    return list(dict.fromkeys(row["work"] for row in record["cells"]))


def _condition(row: Record) -> str:
    return f"{mode_title(row['mode'])}, {row['dtype']}"


def _bars(record: Record) -> "Figure":
    """Images per second, a panel per kind of pass, a colour per mode and dtype."""
    works, cells = _works(record), record["cells"]
    models = list(dict.fromkeys(row["model"] for row in cells))
    conditions = list(dict.fromkeys(map(_condition, cells)))
    # A model's bars lie together, with the room of one bar to the next model's.
    places: dict[tuple[str, str], float] = {}
    middles = []
    below = 0.0
    for model in models:
        own = [
            c for c in conditions if any((r["model"], _condition(r)) == (model, c) for r in cells)
        ]
        places |= {(model, condition): below + i for i, condition in enumerate(own)}
        middles.append(below + (len(own) - 1) / 2)
        below += len(own) + 1
    figure = new_figure(3.0 + 3.4 * len(works), 1.6 + 0.19 * below)
    panels = np.atleast_1d(figure.subplots(1, len(works), sharey=True))
    for axes, work in zip(panels, works, strict=True):
        for row in cells:
            if row["work"] != work:
                continue
            number = conditions.index(_condition(row))
            colour, hatch, *_ = _STYLES[number % len(_STYLES)]
            place = places[row["model"], _condition(row)]
            low, high = (row["batch"] / seconds for seconds in reversed(row["quartiles_s"]))
            speed = row["images_per_second"]
            axes.barh(
                *(place, speed, 0.92),
                xerr=[[max(0, speed - low)], [max(0, high - speed)]],
                color=colour,
                hatch=hatch,
                edgecolor="white",
                error_kw={"ecolor": "#333333", "elinewidth": 0.8, "capsize": 1.5},
                label=conditions[number],
            )
            axes.text(*(max(speed, high), place, f" {speed:.3g}"), va="center", fontsize=_SMALL - 1)
        axes.set_title(work, fontsize=_SMALL + 1)
        axes.set_xlabel("images/s (lines: quartiles)", fontsize=_SMALL)
        axes.set_xmargin(0.12)
        axes.grid(axis="x", alpha=0.3)
        axes.tick_params(labelsize=_SMALL)
        _plain(axes)
    panels[0].set_yticks(middles, models, fontsize=_SMALL)
    panels[0].set_ylim(below - 1, -1)
    _legend(figure, panels, columns=3)
    return figure


def _sweep(record: Record) -> "Figure":
    """Megapixels per second, and memory per megapixel if known, over image sizes (or batches)."""
    works, cells = _works(record), record["cells"]
    axis = "size" if len({row["size"] for row in cells}) > 1 else "batch"
    with_memory = any("memory_mib" in row for row in cells)
    quantities = [("megapixels/s", lambda row: row["megapixels_per_second"])]
    if with_memory:
        quantities.append(("peak memory, MiB per megapixel", _memory_per_megapixel))
    figure = new_figure(3.8 * len(quantities) + 0.4, 3.0 * len(works) + 1.2)
    panels = np.atleast_2d(figure.subplots(len(works), len(quantities), squeeze=False))
    curves = list(dict.fromkeys((row["model"], _condition(row)) for row in cells))
    one_way = len({condition for _, condition in curves}) == 1
    for line, work in enumerate(works):
        for column, (name, quantity) in enumerate(quantities):
            axes = panels[line, column]
            for number, (model, condition) in enumerate(curves):
                points = sorted(
                    (row[axis], value)
                    for row in cells
                    if (row["model"], _condition(row), row["work"]) == (model, condition, work)
                    and (value := quantity(row)) is not None
                )
                if not points:
                    continue
                colour, _, dash, marker = _STYLES[number % len(_STYLES)]
                axes.plot(
                    *zip(*points, strict=True),
                    color=colour,
                    linestyle=dash,
                    marker=marker,
                    markersize=4,
                    label=model if one_way else f"{model} ({condition})",
                )
            axes.set_title(f"{work}: {name}", fontsize=_SMALL + 1)
            axes.set_xlabel("pixels a side" if axis == "size" else "batch", fontsize=_SMALL)
            axes.set_xscale("log", base=2)
            values = sorted({row[axis] for row in cells})
            axes.set_xticks(values, [str(value) for value in values])
            axes.minorticks_off()
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
            axes.tick_params(labelsize=_SMALL)
            _plain(axes)
    _legend(figure, panels.ravel(), columns=2)
    return figure


def _memory_per_megapixel(row: Record) -> float | None:
    if "memory_mib" not in row:
        return None
    return row["memory_mib"] / (row["batch"] * row["size"] ** 2 / 1e6)


def _operators(record: Record) -> "Figure":
    """Time of each operator by stage; the line goes down to its floor, and tells the ratio."""
    cells = record["cells"]
    fields = ("work", "mode", "dtype", "batch", "size")
    groups = list(dict.fromkeys(tuple(row[field] for field in fields) for row in cells))
    names = list(dict.fromkeys(row["model"] for row in cells))
    stages = sorted({row["stage"] for row in cells})
    figure = new_figure(8.0, 2.5 * len(groups) + 1.0)
    panels = np.atleast_1d(figure.subplots(len(groups), 1))
    thick = 0.84 / len(names)
    for axes, group in zip(panels, groups, strict=True):
        rows = [row for row in cells if tuple(row[field] for field in fields) == group]
        floor_label: str | None = "floor"
        for row in rows:
            number = names.index(row["model"])
            colour, *_, marker = _STYLES[number % len(_STYLES)]
            place = stages.index(row["stage"]) + (number + 0.5) * thick - 0.42
            floor = 1000 * max(row["compute_floor_s"], row["memory_floor_s"])
            axes.plot(
                *([place, place], [floor, 1000 * row["median_s"]]),
                color=colour,
                marker=marker,
                markevery=[1],
                linewidth=2.5,
                label=row["model"],
            )
            axes.hlines(
                *(floor, place - thick / 3, place + thick / 3),
                color="black",
                linewidth=1.6,
                label=floor_label,
            )
            floor_label = None
        work, mode, dtype, batch, size = group
        axes.set_title(f"{work}, {mode}, {dtype}, batch {batch}, {size} x {size}", fontsize=9)
        axes.set_ylabel("ms", fontsize=_SMALL)
        axes.set_yscale("log")
        shapes = {
            row["stage"]: f"{row['channels']} ch., {row['side']} x {row['side']}" for row in rows
        }
        labels = [f"stage {stage}\n{shapes.get(stage, '')}" for stage in stages]
        axes.set_xticks(range(len(stages)), labels)
        axes.grid(axis="y", alpha=0.3)
        axes.tick_params(labelsize=_SMALL, which="both")
        _plain(axes)
    _legend(figure, panels, columns=4)
    return figure


def _plain(axes: "Axes") -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.set_axisbelow(True)


def _legend(figure: "Figure", panels: "np.ndarray[Any, Any]", columns: int) -> None:
    if len({label for axes in panels for label in axes.get_legend_handles_labels()[1]}) > 1:
        shared_legend(figure, panels, columns=columns, size=_SMALL)
