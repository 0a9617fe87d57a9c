"""Pictures of the results, made from the tables alone."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from spanetv2.drawing import BLUE, GREY, LINES, new_figure, save_figure, series_style
from spanetv2.evidence.results import Record, Results
from spanetv2.evidence.rows import REFERENCE, find_row
from spanetv2.evidence.statistics import estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "draw_figures"]

_SMALL = 8
_STEEP = 75  # updates


_style = partial(series_style, lines=LINES[:4])


def _mean(rows: Sequence[Record], x: str, y: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, mean and standard deviation of y over all rows of the same x."""
    groups: dict[float, list[float]] = {}
    for row in rows:
        groups.setdefault(row[x], []).append(row[y])
    places = sorted(groups)
    means = np.array([np.mean(groups[place]) for place in places])
    spread = [np.std(groups[p], ddof=1) if len(groups[p]) > 1 else 0.0 for p in places]
    return np.array(places), means, np.array(spread)


def _of(rows: Sequence[Record], **wanted: object) -> list[Record]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def _accuracy(results: Results) -> "Figure":
    """Seeds, mean and interval of every row."""
    names = results.rows()
    figure = new_figure(6.5, 0.8 + 0.42 * len(names))
    axes = figure.add_subplot()
    for place, name in enumerate(names):
        values = [100 * value for value in results.by_seed(name).values()]
        found = estimate(values)
        colour = BLUE if name == REFERENCE else "black"
        if found.count > 1:
            axes.plot([found.low, found.high], [place, place], color=colour, linewidth=2)
        axes.plot(found.mean, place, "D", color=colour, markersize=6)
        axes.plot(values, [place + 0.22] * len(values), "o", color=GREY, markersize=3)
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


def _legend(axes: "Axes") -> None:
    axes.legend(fontsize=_SMALL, frameon=False)
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=_SMALL)


def _curves(results: Results) -> "Figure":
    """Training loss, mean over the seeds."""
    figure = new_figure(6.5, 3.6)
    axes = figure.add_subplot()
    for place, name in enumerate(results.rows()):
        step, loss, spread = _mean(_of(results.curves, row=name), "step", "loss")
        style = _style(place)
        axes.fill_between(step, loss - spread, loss + spread, color=style["color"], alpha=0.15)
        style |= {"marker": ""}
        axes.plot(step, loss, **style, label=find_row(name).title)  # pyright: ignore[reportArgumentType]
    axes.set_xlabel("update", fontsize=_SMALL)
    axes.set_ylabel("training loss (band: sd over seeds)", fontsize=_SMALL)
    # the first lines fall so steeply that the rest would be one band
    rest = [row["loss"] for row in results.curves if row["step"] >= _STEEP]
    if rest:
        axes.set_ylim(0.98 * min(rest), 1.02 * max(rest))
    _legend(axes)
    return figure


def _filtered(results: Results) -> "Figure":
    """Accuracy under low- and high-pass filtered input."""
    figure = new_figure(8, 3.4)
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, band, title in (
        (left, "low", "only frequencies up to the radius"),
        (right, "high", "only frequencies beyond the radius"),
    ):
        for place, name in enumerate(results.rows()):
            chosen = _of(results.filtered, row=name, band=band)
            radius, top1, spread = _mean(chosen, "radius", "top1")
            axes.errorbar(
                radius,
                100 * top1,
                yerr=100 * spread,
                capsize=2,
                markersize=4,
                label=find_row(name).title,
                **_style(place),  # pyright: ignore[reportArgumentType]
            )
        axes.set_title(title, fontsize=_SMALL + 1)
        axes.set_xlabel("radius, rad / pixel", fontsize=_SMALL)
        axes.axhline(10, color=GREY, linewidth=0.7)
        _legend(axes)
    left.set_ylabel("top-1, % (bars: sd over seeds)", fontsize=_SMALL)
    right.get_legend().remove()  # pyright: ignore[reportOptionalMemberAccess]
    return figure


def _responses(results: Results) -> "Figure":
    """Gain of the trained mixers by stage, over the mean of each curve."""
    stages = sorted({row["stage"] for row in results.responses})
    figure = new_figure(2.3 * len(stages) + 1, 3.2)
    panels = figure.subplots(1, len(stages), sharey=True, squeeze=False)[0]
    for axes, stage in zip(panels, stages, strict=True):
        for place, name in enumerate(results.rows()):
            chosen = _of(results.responses, row=name, stage=stage)
            if not chosen:
                continue
            radius, gain, _ = _mean(chosen, "radius", "gain")
            decibels = 20 * np.log10(gain / np.sqrt(np.mean(gain**2)))
            axes.plot(
                radius,
                decibels,
                markersize=3,
                label=find_row(name).title,
                **_style(place),  # pyright: ignore[reportArgumentType]
            )
        axes.axhline(0, color=GREY, linewidth=0.7)
        axes.set_title(f"stage {stage}", fontsize=_SMALL + 1)
        axes.set_xlabel("rad / token", fontsize=_SMALL)
        _legend(axes)
        if axes is not panels[0]:
            axes.get_legend().remove()  # pyright: ignore[reportOptionalMemberAccess]
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
            for place, head in enumerate(heads):
                chosen = _of(rows, stage=stage, quantity=quantity, head=head)
                radius, gain, _ = _mean(chosen, "radius", "gain")
                axes.plot(
                    radius,
                    gain,
                    markersize=3,
                    label=head,
                    **_style(place),  # pyright: ignore[reportArgumentType]
                )
            if quantity == "gate":
                axes.axhline(0.5, color=GREY, linewidth=0.7)
            _legend(axes)
            if axes is not panels[0, 0]:
                axes.get_legend().remove()  # pyright: ignore[reportOptionalMemberAccess]
            if quantity == "kernel":
                axes.set_title(f"stage {stage}", fontsize=_SMALL + 1)
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
