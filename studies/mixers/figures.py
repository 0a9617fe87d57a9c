"""Pictures of the results, made from the tables alone."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spanetv2.drawing import BLUE, GREY, LINES, new_figure, save_figure, series_style
from studies.mixers.results import Record, Results
from studies.mixers.rows import REFERENCE, find_row
from studies.mixers.statistics import estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "draw_figures"]

_SMALL = 8
_STEEP = 75  # updates
_style: Callable[[int], Any] = partial(series_style, lines=LINES[:4])


def _mean(rows: Sequence[Record], x: str, y: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, mean and standard deviation of y over all rows of the same x."""
    groups: dict[float, list[float]] = {}
    for row in rows:
        groups.setdefault(row[x], []).append(row[y])
    xs = sorted(groups)
    spread = [np.std(groups[at], ddof=1) if len(groups[at]) > 1 else 0.0 for at in xs]
    return np.array(xs), np.array([np.mean(groups[at]) for at in xs]), np.array(spread)


def _of(rows: Sequence[Record], **wanted: object) -> list[Record]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def _finish(
    axes: "Axes", *, x: str = "", y: str = "", title: str = "", legend: bool = False
) -> None:
    """Titles in the figures' type; a legend only where it is asked for."""
    if x:
        axes.set_xlabel(x, fontsize=_SMALL)
    if y:
        axes.set_ylabel(y, fontsize=_SMALL)
    if title:
        axes.set_title(title, fontsize=_SMALL + 1)
    if legend:
        axes.legend(fontsize=_SMALL, frameon=False)
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=_SMALL)


def _accuracy(results: Results) -> "Figure":
    """Seeds, mean and interval of every row."""
    names = results.rows()
    figure = new_figure(6.5, 0.8 + 0.42 * len(names))
    axes = figure.add_subplot()
    for number, name in enumerate(names):
        values = [100 * value for value in results.by_seed(name).values()]
        mean = estimate(values)
        colour = BLUE if name == REFERENCE else "black"
        if mean.count > 1:
            axes.plot([mean.low, mean.high], [number, number], color=colour, linewidth=2)
        axes.plot(mean.mean, number, "D", color=colour, markersize=6)
        axes.plot(values, [number + 0.22] * len(values), "o", color=GREY, markersize=3)
    axes.set_yticks(range(len(names)), [find_row(name).title for name in names], fontsize=_SMALL)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlabel(
        f"{results.score_title} on held-out images, % "
        "(diamond: mean, bar: 95 % interval, dots: seeds)",
        fontsize=_SMALL,
    )
    axes.tick_params(axis="x", labelsize=_SMALL)
    axes.grid(axis="x", alpha=0.3)
    return figure


def _curves(results: Results) -> "Figure":
    """Training loss, mean over the seeds."""
    figure = new_figure(6.5, 3.6)
    axes = figure.add_subplot()
    for number, name in enumerate(results.rows()):
        step, loss, spread = _mean(_of(results.curves, row=name), "step", "loss")
        style = {**_style(number), "marker": "", "label": find_row(name).title}
        axes.fill_between(step, loss - spread, loss + spread, color=style["color"], alpha=0.15)
        axes.plot(step, loss, **style)
    # the first lines fall so steeply that the rest would be one band
    rest = [row["loss"] for row in results.curves if row["step"] >= _STEEP]
    if rest:
        axes.set_ylim(0.98 * min(rest), 1.02 * max(rest))
    _finish(axes, x="update", y="training loss (band: sd over seeds)", legend=True)
    return figure


def _filtered(results: Results) -> "Figure":
    """Accuracy under low- and high-pass filtered input."""
    figure = new_figure(8, 3.4)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, band, which in zip(panels, ("low", "high"), ("up to", "beyond"), strict=True):
        for number, name in enumerate(results.rows()):
            chosen = _of(results.filtered, row=name, band=band)
            radius, top1, spread = _mean(chosen, "radius", "top1")
            style = {**_style(number), "markersize": 4, "label": find_row(name).title}
            axes.errorbar(radius, 100 * top1, yerr=100 * spread, capsize=2, **style)
        axes.axhline(10, color=GREY, linewidth=0.7)
        title = f"only frequencies {which} the radius"
        _finish(axes, x="radius, rad / pixel", title=title, legend=axes is panels[0])
    panels[0].set_ylabel("top-1, % (bars: sd over seeds)", fontsize=_SMALL)
    return figure


def _responses(results: Results) -> "Figure":
    """Gain of the trained mixers by stage, over the mean of each curve."""
    stages = sorted({row["stage"] for row in results.responses})
    figure = new_figure(2.3 * len(stages) + 1, 3.2)
    panels = figure.subplots(1, len(stages), sharey=True, squeeze=False)[0]
    for axes, stage in zip(panels, stages, strict=True):
        for number, name in enumerate(results.rows()):
            if chosen := _of(results.responses, row=name, stage=stage):
                radius, gain, _ = _mean(chosen, "radius", "gain")
                decibels = 20 * np.log10(gain / np.sqrt(np.mean(gain**2)))
                style = {**_style(number), "markersize": 3, "label": find_row(name).title}
                axes.plot(radius, decibels, **style)
        axes.axhline(0, color=GREY, linewidth=0.7)
        _finish(axes, x="rad / token", title=f"stage {stage}", legend=axes is panels[0])
    panels[0].set_ylabel("gain over the curve's mean, dB", fontsize=_SMALL)
    return figure


def _bank(results: Results) -> "Figure":
    """Kernels and gates of the reference's heads, by stage."""
    rows = _of(results.bank, row=REFERENCE)
    stages = sorted({row["stage"] for row in rows})
    heads = list(dict.fromkeys(row["head"] for row in rows))
    quantities = {"kernel": "kernel |K|", "gate": "gate g (SRF)", "composed": "both |K| g"}
    figure = new_figure(2.3 * len(stages) + 1, 2.1 * len(quantities) + 0.4)
    panels = figure.subplots(len(quantities), len(stages), squeeze=False)
    for line, (quantity, label) in zip(panels, quantities.items(), strict=True):
        for axes, stage in zip(line, stages, strict=True):
            for number, head in enumerate(heads):
                chosen = _of(rows, stage=stage, quantity=quantity, head=head)
                radius, gain, _ = _mean(chosen, "radius", "gain")
                axes.plot(radius, gain, **_style(number), markersize=3, label=head)
            if quantity == "gate":
                axes.axhline(0.5, color=GREY, linewidth=0.7)
            title = f"stage {stage}" if quantity == "kernel" else ""
            _finish(axes, title=title, legend=axes is panels[0, 0])
        line[0].set_ylabel(label, fontsize=_SMALL)
    for axes in panels[-1]:
        axes.set_xlabel("rad / token", fontsize=_SMALL)
    return figure


FIGURES: dict[str, tuple[Callable[[Results], "Figure"], str]] = {
    "accuracy": (_accuracy, "runs"),
    "curves": (_curves, "curves"),
    "filtered": (_filtered, "filtered"),
    "responses": (_responses, "responses"),
    "bank": (_bank, "bank"),
}
"""By name: what draws it, and the table it is made from."""


def draw_figures(results: Results, folder: Path) -> list[Path]:
    """Draw every figure whose table has rows, as ``evidence_NAME.png``."""
    paths = []
    for name, (draw, table) in FIGURES.items():
        rows = getattr(results, table)
        if name == "bank":
            rows = _of(rows, row=REFERENCE)
        if rows:
            paths.append(folder / f"evidence_{name}.png")
            save_figure(draw(results), paths[-1])
    return paths
