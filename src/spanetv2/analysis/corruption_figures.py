"""Figures of corruptions: what they cost, where they live, and what a network is sensitive to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spanetv2.analysis.corrupted import radial_power
from spanetv2.analysis.figures import model_style
from spanetv2.analysis.model_study import ModelAnalysis
from spanetv2.drawing import GREY, PI_TICKS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["corrupted_figure", "overlay_figure", "spectrum_figure"]

_COLUMNS = 5
_SHOWN = 3
"""Strength of the corruptions that are laid over a network's sensitivity."""
_SHARES = (0.5, 0.8)


def _panels(count: int, height: float) -> tuple["Figure", Any]:
    rows = -(-count // _COLUMNS)
    figure = new_figure(2.4 * _COLUMNS + 0.8, height * rows + 0.7)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False, sharex=True, sharey=True)
    for axes in grid.ravel()[count:]:
        axes.set_axis_off()
    return figure, grid


def _title(kind: str) -> str:
    return kind.replace("_", " ").replace("frost", "frost (ours)")


def corrupted_figure(analyses: Sequence[ModelAnalysis]) -> "Figure":
    """Score against strength, a panel per corruption; thin lines are whole images."""
    shown = [a for a in analyses if a.corrupted is not None]
    assert shown[0].corrupted is not None
    kinds = shown[0].corrupted.coords["corruption"]
    figure, grid = _panels(len(kinds), 1.9)
    for panel, (kind, axes) in enumerate(zip(kinds, grid.ravel(), strict=False)):
        for number, analysis in enumerate(shown):
            assert analysis.corrupted is not None
            look = model_style(number)
            strengths = list(analysis.corrupted.coords["strength"])
            axes.plot(
                strengths, 100 * analysis.corrupted.values[panel], label=analysis.title, **look
            )
            if analysis.accuracy is not None:
                axes.axhline(100 * analysis.accuracy, color=look["color"], linewidth=0.8, alpha=0.6)
        axes.set_title(_title(kind), fontsize=9)
        axes.set_ylim(0, 102)
        axes.grid(alpha=0.3)
    for axes in grid[:, 0]:
        axes.set_ylabel(f"{shown[0].score}, %")
    for axes in grid[-1]:
        axes.set_xlabel("strength")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    return figure


def spectrum_figure(analysis: ModelAnalysis) -> "Figure":
    """Power that corruptions add, against |w|: weakest to strongest from dark to light."""
    from matplotlib import colormaps

    assert analysis.corruption_power is not None
    power = radial_power(analysis.corruption_power)
    kinds, strengths = power.coords["corruption"], power.coords["strength"]
    radius = np.asarray(power.coords["radius"])
    figure, grid = _panels(len(kinds), 1.9)
    for panel, (kind, axes) in enumerate(zip(kinds, grid.ravel(), strict=False)):
        for number, strength in enumerate(strengths):
            colour = colormaps["viridis"](0.9 * number / max(len(strengths) - 1, 1))
            values = np.maximum(power.values[panel, number], 1e-12)
            axes.semilogy(radius, values, color=colour, label=f"strength {strength}", linewidth=1.2)
        axes.set_title(_title(kind), fontsize=9)
        axes.set_xlim(0, np.pi)
        axes.set_xticks(*PI_TICKS)
        axes.grid(alpha=0.3)
    for axes in grid[:, 0]:
        axes.set_ylabel("mean power")
    for axes in grid[-1]:
        axes.set_xlabel("|w|, rad / pixel")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=9)
    return figure


def overlay_figure(analysis: ModelAnalysis) -> "Figure":
    """The Fourier heat map, with lines around half and 80 % of each corruption's power in it."""
    assert analysis.heat_map is not None
    assert analysis.corruption_power is not None
    power, heat = analysis.corruption_power, analysis.heat_map
    kinds = list(power.coords["corruption"])
    step = list(power.coords["strength"]).index(_SHOWN)
    half = len(heat.values) // 2
    axis = np.arange(-half, half + 1)
    rows = [list(power.coords["i"]).index(k) for k in axis.tolist()]
    columns = [list(power.coords["j"]).index(k) for k in axis.tolist()]
    figure, grid = _panels(len(kinds), 2.5)
    image = None
    for panel, (kind, axes) in enumerate(zip(kinds, grid.ravel(), strict=False)):
        edge = half + 0.5
        image = axes.imshow(
            100 * heat.values,
            cmap="viridis",
            vmin=0,
            vmax=100,
            origin="lower",
            extent=(-edge, edge, -edge, edge),
        )
        whole = power.values[panel, step]
        inside = whole[np.ix_(rows, columns)]
        levels = _levels(inside)
        if levels and half:
            axes.contour(axis, axis, inside, levels=levels, colors="white", linewidths=(0.9, 1.8))
        share = inside.sum() / whole.sum() if whole.sum() > 0 else 0.0
        text = f"{_title(kind)}\n{100 * share:.0f} % of it in here"
        if analysis.corrupted is not None:
            text += f", {analysis.score} {100 * analysis.corrupted.values[panel, step]:.0f} %"
        axes.set_title(text, fontsize=8)
        axes.plot(0, 0, "+", color=GREY, markersize=5)
    for axes in grid[:, 0]:
        axes.set_ylabel("periods, height")
    for axes in grid[-1]:
        axes.set_xlabel("periods, width")
    if image is not None:
        figure.colorbar(image, ax=grid.ravel().tolist(), label=f"{heat.unit}, %", aspect=40)
    figure.suptitle(analysis.title, fontsize=10)
    return figure


def _levels(power: np.ndarray) -> list[float]:
    """Values above which the frequencies hold 80 % and half of the power, ascending."""
    values = np.sort(power.ravel())[::-1]
    total = np.cumsum(values)
    if not total[-1] > 0:
        return []
    found = {float(values[np.searchsorted(total, share * total[-1])]) for share in _SHARES}
    return sorted(found)
