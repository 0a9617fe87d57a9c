"""How the study's figures draw curves: a style for every window, axes, titles of panels."""

from typing import TYPE_CHECKING, Any

import numpy as np

from spanetv2.drawing import COLOURS, LINES, MARKERS, PI_TICKS
from spanetv2.theory.study.curves import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "NORMAL",
    "SMALL",
    "STYLES",
    "draw_curves",
    "frequency_axis",
    "label_panel",
    "style_of",
    "window_name",
]

STYLES = tuple(zip(COLOURS, LINES, MARKERS, strict=False))
"""Colour, line style, marker."""
SMALL, NORMAL = 7, 8  # type sizes in points, as printed
_WINDOWS = {3: 0, 5: 1, 7: 2, 9: 3, None: 4}


def style_of(window: int | None) -> tuple[str, Any, str]:
    """Colour, line style and marker of a window, the same in every figure."""
    return STYLES[_WINDOWS[window]]


def window_name(window: int | None) -> str:
    """What a window is called in legends."""
    return "global" if window is None else f"{window}x{window}"


def draw_curves(axes: "Axes", curves: list[Curve]) -> None:
    """Draw gain against radial frequency: markers measured, lines the law, bands the draws.

    Where there is no law, the markers are joined.
    """
    for curve in curves:
        colour, line, marker = style_of(curve.window)
        label = window_name(curve.window)
        if curve.draws > 1:
            axes.fill_between(
                curve.radius, curve.low, curve.high, color=colour, alpha=0.15, linewidth=0
            )
        axes.plot(
            curve.radius,
            curve.gain if curve.law is None else curve.law,
            color=colour,
            linestyle=line,
            linewidth=1.1,
        )
        axes.plot(
            curve.radius,
            curve.gain,
            color=colour,
            linestyle="none",
            marker=marker,
            markersize=3,
            label=label,
        )
    frequency_axis(axes)


def frequency_axis(axes: "Axes") -> None:
    """Mark the horizontal axis as radial frequency."""
    axes.set_xlim(-0.08, np.pi + 0.08)
    axes.set_xticks(*PI_TICKS)
    axes.set_xlabel("|w|, rad / token", fontsize=NORMAL)
    axes.tick_params(labelsize=SMALL)
    axes.grid(alpha=0.25, linewidth=0.5)


def label_panel(axes: "Axes", letter: str, title: str) -> None:
    """Give a panel its letter and what it shows."""
    axes.set_title(f"({letter}) {title}", fontsize=NORMAL, loc="left")
