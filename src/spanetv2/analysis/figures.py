"""Figures of model analyses, from their results. Each function returns a matplotlib figure.

Models are told apart by colour, line style and marker, depth by a scale from dark to light that
also reads in grey.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from spanetv2.analysis.arrays import NamedArray
from spanetv2.analysis.cue_conflict import ShapeBias
from spanetv2.analysis.model_study import ActivationMaps, ModelAnalysis
from spanetv2.analysis.response import MixerResponse
from spanetv2.analysis.spam_bank import SpamBank
from spanetv2.drawing import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PI_TICKS,
    PURPLE,
    SKY,
    VERMILION,
    new_figure,
    series_style,
)
from spanetv2.text import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "activation_sheet",
    "amplitude_figure",
    "bank_figure",
    "depth_figure",
    "filtered_figure",
    "heat_map_figure",
    "model_style",
    "response_figure",
    "shape_bias_figure",
]

_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
_LONGEST = 16  # characters of a class's name


def model_style(number: int) -> dict[str, Any]:
    """Colour, line and marker of the model of a number."""
    return {**series_style(number, colours=_COLOURS), "markersize": 4}


def _depth_colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    # The last, nearly white part of the scale would be lost on paper.
    return [colormaps["viridis"](0.9 * i / max(count - 1, 1)) for i in range(count)]


def _depth_bar(figure: "Figure", axes: Sequence["Axes"]) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import ListedColormap, Normalize

    scale = ListedColormap(colormaps["viridis"](np.linspace(0, 0.9, 256)))
    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), scale), ax=list(axes), aspect=30, pad=0.01
    )
    bar.set_ticks([0, 1], labels=["first", "last"])
    bar.set_label("block", labelpad=-14)


def _radius_axis(axes: "Axes", label: str = "|w|, rad / token") -> None:
    axes.set_xlim(0, np.pi)
    axes.set_xticks(*PI_TICKS)
    axes.set_xlabel(label)
    axes.grid(alpha=0.3)


def amplitude_figure(analyses: Sequence[ModelAnalysis]) -> "Figure":
    """Relative log-amplitude: curves by depth for each model, and the finest wave by depth."""
    shown = [a for a in analyses if a.amplitudes]
    figure = new_figure(3.6 * (len(shown) + 1) + 0.6, 3.4)
    grid = figure.subplots(1, len(shown) + 1, squeeze=False)[0]
    for axes, analysis in zip(grid, shown, strict=False):
        colours = _depth_colours(len(analysis.amplitudes))
        for colour, block in zip(colours, analysis.amplitudes, strict=True):
            x = np.asarray(block.curve.coords["frequency"])
            marker = "o" if len(x) < 5 else None
            axes.plot(x, block.curve.values, color=colour, marker=marker, markersize=3)
        axes.set_title(analysis.title)
        _radius_axis(axes, "diagonal frequency, rad / token")
    low = min(axes.get_ylim()[0] for axes in grid[:-1])
    high = max(axes.get_ylim()[1] for axes in grid[:-1])
    for axes in grid[:-1]:
        axes.set_ylim(low, high)
    grid[0].set_ylabel("log-amplitude relative to frequency 0")
    _depth_bar(figure, grid[:-1])
    axes = grid[-1]
    for number, analysis in enumerate(shown):
        depth = _relative_depth(len(analysis.amplitudes))
        finest = [block.finest for block in analysis.amplitudes]
        axes.plot(depth, finest, label=analysis.title, **model_style(number))
    axes.set_title("finest wave")
    axes.set_xlabel("depth (first to last block)")
    axes.set_ylabel("relative log-amplitude")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _relative_depth(count: int) -> np.ndarray:
    return np.linspace(0, 1, count) if count > 1 else np.zeros(count)


def response_figure(analyses: Sequence[ModelAnalysis], *, attention: bool = False) -> "Figure":
    """Gain against |w| of every mixer, one row per model and one column per stage.

    Jacobians are drawn relative to the root mean square gain over all waves (0 dB), frozen
    attention maps as they are: the constant passes at 0 dB.
    """
    rows = [(a.title, _stages(a.attention if attention else a.responses)) for a in analyses]
    rows = [(title, stages) for title, stages in rows if stages]
    columns = max(len(stages) for _, stages in rows)
    figure = new_figure(2.9 * columns + 1.2, 2.5 * len(rows) + 0.5)
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for line, (title, stages) in zip(grid, rows, strict=True):
        for column, axes in enumerate(line):
            if column >= len(stages):
                axes.set_axis_off()
                continue
            heading, members = stages[column]
            colours = _depth_colours(len(members))
            for colour, response in zip(colours, members, strict=True):
                curve = response.radial()
                flat = 1.0 if attention else float(np.sqrt(response.gain2.mean())) or 1.0
                gain = _decibel(curve.values[0] / flat)
                radius = np.asarray(curve.coords["radius"])
                axes.plot(radius, gain, color=colour, marker="o", markersize=2.5)
            axes.axhline(0, color=GREY, linewidth=0.7)
            axes.set_title(heading, fontsize=9)
            _radius_axis(axes)
            if column == 0:
                axes.set_ylabel(f"{title}\ngain, dB")
        shown = line[: len(stages)]
        low = min(axes.get_ylim()[0] for axes in shown)
        high = max(axes.get_ylim()[1] for axes in shown)
        for axes in shown:
            axes.set_ylim(max(low, -60), high)
    _depth_bar(figure, list(grid.ravel()))
    return figure


def _decibel(gain: np.ndarray) -> np.ndarray:
    return 20 * np.log10(np.maximum(gain, 1e-6))


def _stages(responses: Sequence[MixerResponse]) -> list[tuple[str, list[MixerResponse]]]:
    """Group the mixers into panels: by stage, or in quarters where there is only one stage."""
    groups: dict[int, list[MixerResponse]] = {}
    for response in responses:
        groups.setdefault(response.stage, []).append(response)
    if len(groups) == 1 and len(responses) >= 8:
        parts = np.array_split(np.arange(len(responses)), 4)
        return [
            (_heading(f"blocks {p[0] + 1}-{p[-1] + 1}", chosen), chosen)
            for p in parts
            if (chosen := [responses[i] for i in p])
        ]
    return [(_heading(f"stage {n}", members), members) for n, members in groups.items()]


def _heading(name: str, members: Sequence[MixerResponse]) -> str:
    grids = dict.fromkeys(f"{r.grid[0]}x{r.grid[1]}" for r in members)
    kinds = dict.fromkeys(r.kind for r in members)
    return f"{name}: {', '.join(kinds)}, {', '.join(grids)}"


_SCALARS: tuple[tuple[str, str, Callable[[MixerResponse], float]], ...] = (
    ("centroid λc (1 = flat)", "linear", lambda r: r.frequency.centroid),
    ("effective neighbours M_eff", "log", lambda r: r.m_eff),
    ("leakage", "linear", lambda r: r.leakage),
    ("share of the constant in the power", "log", lambda r: r.frequency.dc_share),
)


def depth_figure(analyses: Sequence[ModelAnalysis]) -> "Figure":
    """Scalars of the mixers by depth: Jacobians filled, frozen attention maps open."""
    figure = new_figure(3.6 * len(_SCALARS), 3.6)
    grid = figure.subplots(1, len(_SCALARS))
    for axes, (title, scale, read) in zip(grid, _SCALARS, strict=True):
        for number, analysis in enumerate(analyses):
            names = [response.name for response in analysis.responses]
            depth = dict(zip(names, _relative_depth(len(names)), strict=True))
            values = [read(response) for response in analysis.responses]
            axes.plot(list(depth.values()), values, label=analysis.title, **model_style(number))
            maps = [r for r in analysis.attention if r.name in depth]
            if maps:
                look = {**model_style(number), "linestyle": "none", "markerfacecolor": "none"}
                look["markersize"] = 6
                x = [depth[r.name] for r in maps]
                label = f"{analysis.title}, attention map"
                axes.plot(x, [read(r) for r in maps], label=label, **look)
        axes.set_title(title, fontsize=10)
        axes.set_yscale(scale)
        axes.set_xlabel("depth (first to last mixer)")
        axes.grid(alpha=0.3)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9)
    return figure


def bank_figure(bank: Sequence[SpamBank], title: str) -> "Figure":
    """SPAM's kernels, gates and their product per stage and head, averaged over the blocks."""
    stages: dict[int, list[SpamBank]] = {}
    for member in bank:
        stages.setdefault(member.stage, []).append(member)
    figure = new_figure(10, 2.4 * len(stages) + 0.7)
    grid = figure.subplots(len(stages), 3, squeeze=False)
    headings = ("kernels |K|", "gates g (10 to 90 % of channels)", "composed |K| g")
    for line, (number, members) in zip(grid, stages.items(), strict=True):
        curves = members[0].curves
        radius = np.asarray(curves.coords["radius"])
        mean = np.mean([m.curves.values for m in members], axis=0)
        for head, name in enumerate(curves.coords["head"]):
            look = {**model_style(head), "label": name, "markersize": 3}
            if len(radius) >= 6:
                del look["marker"]
            kernel, gate, low, high, composed = mean[head]
            line[0].plot(radius, kernel, **look)
            line[1].plot(radius, gate, **look)
            line[1].fill_between(radius, low, high, color=_COLOURS[head], alpha=0.12, linewidth=0)
            line[2].plot(radius, composed, **look)
        line[1].axhline(0.5, color=GREY, linewidth=0.7)
        height, width = members[0].grid
        line[0].set_ylabel(f"stage {number}, {height}x{width}\ngain")
        for axes, heading in zip(line, headings, strict=True):
            _radius_axis(axes)
            axes.set_title(heading, fontsize=10)
        line[0].set_ylim(bottom=0)
        line[2].set_ylim(bottom=0)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, title="head")
    figure.suptitle(title)
    return figure


def filtered_figure(analyses: Sequence[ModelAnalysis]) -> "Figure":
    """Scores under low- and high-pass filtered input."""
    figure = new_figure(8.4, 3.5)
    grid = figure.subplots(1, 2, sharey=True)
    for number, analysis in enumerate(analyses):
        if analysis.filtered is None:
            continue
        radius = np.asarray(analysis.filtered.coords["radius"])
        for axes, values in zip(grid, analysis.filtered.values, strict=True):
            axes.plot(radius, 100 * values, label=analysis.title, **model_style(number))
            if analysis.accuracy is not None:
                colour = model_style(number)["color"]
                axes.axhline(100 * analysis.accuracy, color=colour, linewidth=0.8, alpha=0.6)
    for axes, name in zip(grid, ("low-pass: |w| ≤ R kept", "high-pass: |w| > R kept"), strict=True):
        axes.set_title(name)
        axes.set_xlabel("R, rad / pixel")
        axes.set_xticks(*PI_TICKS)
        axes.set_ylim(0, 102)
        axes.grid(alpha=0.3)
    scores = dict.fromkeys(a.score for a in analyses if a.filtered is not None)
    grid[0].set_ylabel(f"{', '.join(scores)}, %")
    grid[1].legend(fontsize=8)
    return figure


def heat_map_figure(analyses: Sequence[ModelAnalysis]) -> "Figure":
    """Error rate under one added wave, frequency 0 in the middle."""
    maps: list[tuple[str, NamedArray]] = [
        (a.title, a.heat_map) for a in analyses if a.heat_map is not None
    ]
    figure = new_figure(3.4 * len(maps) + 0.8, 3.4)
    grid = figure.subplots(1, len(maps), squeeze=False)[0]
    image = None
    for axes, (title, found) in zip(grid, maps, strict=True):
        edge = found.coords["j"][-1] + 0.5
        image = axes.imshow(
            100 * found.values,
            cmap="viridis",
            vmin=0,
            vmax=100,
            origin="lower",
            extent=(-edge, edge, -edge, edge),
        )
        axes.set_title(title)
        axes.set_xlabel("periods across the width")
    grid[0].set_ylabel("periods across the height")
    if image is not None:
        figure.colorbar(image, ax=list(grid), label="error, %")
    return figure


def shape_bias_figure(results: Sequence[tuple[str, ShapeBias]]) -> "Figure":
    """Shape bias per category of the shape (points) and over all images (lines)."""
    names = sorted({c for _, result in results for c in result.per_category.coords["category"]})
    figure = new_figure(6.4, 0.3 * len(names) + 1.6)
    axes = figure.add_subplot()
    for number, (title, result) in enumerate(results):
        counts = result.per_category.values
        cues = counts[:, 0] + counts[:, 1]
        used = np.flatnonzero(cues)
        y = [names.index(result.per_category.coords["category"][i]) for i in used.tolist()]
        look = {**model_style(number), "linestyle": "none", "markersize": 6}
        axes.plot(counts[used, 0] / cues[used], y, label=title, **look)
        if result.bias is not None:
            line = model_style(number)
            axes.axvline(result.bias, color=line["color"], linestyle=line["linestyle"], linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(-0.03, 1.03)
    axes.set_xlabel("0: decides by texture ... 1: decides by shape")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="best")
    return figure


def activation_sheet(cams: ActivationMaps, title: str) -> "Figure":
    """Images above their class activation maps."""
    number = len(cams.images)
    columns = min(8, number)
    lines = math.ceil(number / columns)
    figure = new_figure(1.6 * columns + 0.2, 3.7 * lines + 0.4)
    grid = figure.subplots(2 * lines, columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for i in range(number):
        line, column = divmod(i, columns)
        above, below = grid[2 * line, column], grid[2 * line + 1, column]
        above.imshow(cams.images[i], interpolation="nearest")
        below.imshow(cams.images[i].mean(-1), cmap="gray", vmin=0, vmax=1)
        below.imshow(cams.maps[i], cmap="inferno", alpha=0.6, vmin=0, vmax=1)
        wrong = cams.true is not None and cams.true[i] != cams.explained[i]
        text = shorten(cams.explained[i], _LONGEST)
        if wrong and cams.true is not None:
            text += f"\n(is {shorten(cams.true[i], _LONGEST)})"
        above.set_title(text, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure
