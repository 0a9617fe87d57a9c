"""What the study's figures share: colours, line styles, axes, and the way they are written.

Colours are from the Okabe-Ito set, which colour-blind readers can tell apart; every curve also has
a line style and a marker of its own, so that the figures survive printing in grey.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spanetv2.files import atomic_path
from spanetv2.theory.study.curves import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "GREY",
    "STYLES",
    "draw_curves",
    "frequency_axis",
    "label_panel",
    "new_figure",
    "save_figure",
    "shared_legend",
    "style_of",
    "window_name",
]

BLACK, GREY = "#000000", "#666666"
BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
)
# colour, line style, marker
STYLES = (
    (BLUE, "-", "o"),
    (VERMILION, "--", "s"),
    (GREEN, "-.", "^"),
    (ORANGE, ":", "D"),
    (PURPLE, (0, (6, 1.5, 1, 1.5, 1, 1.5)), "v"),
    (SKY, (0, (8, 2)), "P"),
)
_WINDOWS = {3: 0, 5: 1, 7: 2, 9: 3, None: 4}
SMALL, NORMAL = 7, 8  # type sizes in points, as printed
_FORMATS = ("png", "pdf")
_DPI = 200


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty figure of ``width`` x ``height`` inches, laid out automatically."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: "Figure", folder: str | os.PathLike[str], name: str) -> list[Path]:
    """Write ``folder/name`` as PNG and as PDF with embedded fonts, each atomically."""
    import matplotlib

    written = []
    for kind in _FORMATS:
        path = Path(folder) / f"{name}.{kind}"
        # no time in the file: the same figure is the same bytes
        metadata = {"CreationDate": None} if kind == "pdf" else None
        with atomic_path(path) as temporary, matplotlib.rc_context({"pdf.fonttype": 42}):
            figure.savefig(temporary, format=kind, dpi=_DPI, facecolor="white", metadata=metadata)
        written.append(path)
    return written


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
    axes.set_xticks([0, np.pi / 2, np.pi], ["0", "π/2", "π"])
    axes.set_xlabel("|w|, rad / token", fontsize=NORMAL)
    axes.tick_params(labelsize=SMALL)
    axes.grid(alpha=0.25, linewidth=0.5)


def label_panel(axes: "Axes", letter: str, title: str) -> None:
    """Give a panel its letter and what it shows."""
    axes.set_title(f"({letter}) {title}", fontsize=NORMAL, loc="left")


def shared_legend(figure: "Figure", panels: "Iterable[Axes]", *, title: str) -> None:
    """Put one legend under the figure for the given panels, each entry once."""
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=len(entries),
        fontsize=SMALL,
        frameon=False,
        title=title,
        title_fontsize=SMALL,
    )
