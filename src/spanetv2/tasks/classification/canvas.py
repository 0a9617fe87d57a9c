"""What every picture shares: colours, an empty figure and the way it is written.

matplotlib is imported only when a picture is drawn, through ``Figure`` objects: no global state,
no display. Colours are from the Okabe-Ito set; no meaning is carried by colour alone.
"""

import os
import warnings
from typing import TYPE_CHECKING

from spanetv2.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BLUE", "GREEN", "GREY", "LINE_COLOURS", "VERMILION", "new_figure", "save_figure"]

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#666666"
LINE_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty figure of ``width`` x ``height`` inches, laid out automatically."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: "Figure", path: str | os.PathLike[str], *, dpi: int = 120) -> None:
    """Write ``figure`` to ``path`` as PNG, atomically."""
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # A class name in a script that the font lacks is drawn as boxes: no reason to complain.
        warnings.filterwarnings("ignore", message=r"Glyph \d+", category=UserWarning)
        figure.savefig(temporary, format="png", dpi=dpi, facecolor="white")
