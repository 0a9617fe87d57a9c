"""How figures look and how they are written: palette, canvas, legend, files.

matplotlib is imported only when something is drawn, through ``Figure`` objects: no global state, no
display. Colours are from the Okabe-Ito set, which colour-blind readers can tell apart; no meaning
is carried by colour alone, for every series has a line style and a marker of its own, too.
"""

import math
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spanetv2.errors import UserError
from spanetv2.files import atomic_path
from spanetv2.text import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from PIL.Image import Image

__all__ = [
    "BLACK",
    "BLUE",
    "COLOURS",
    "GREEN",
    "GREY",
    "LINES",
    "MARKERS",
    "ORANGE",
    "PI_TICKS",
    "PURPLE",
    "SKY",
    "VERMILION",
    "new_figure",
    "picture_format",
    "save_figure",
    "save_picture",
    "series_style",
    "shared_legend",
]

BLACK, GREY = "#000000", "#666666"
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY = "#CC79A7", "#56B4E9"
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
LINES = ("-", "--", "-.", ":", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (8, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
PI_TICKS = ([0, math.pi / 2, math.pi], ["0", "π/2", "π"])
"""Places and labels on an axis of radial frequency."""
_FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".pdf": "pdf", "": "png"}


def series_style(
    number: int, *, colours: Sequence[str] = COLOURS, lines: Sequence[Any] = LINES
) -> dict[str, Any]:
    """Colour, line style and marker of a series, as arguments of ``Axes.plot``.

    Args:
        number: of the series, from 0.
        colours: in their order.
        lines: line styles in their order.

    Example:
        >>> series_style(1)
        {'color': '#D55E00', 'linestyle': '--', 'marker': 's'}
    """
    return {
        "color": colours[number % len(colours)],
        "linestyle": lines[number % len(lines)],
        "marker": MARKERS[number % len(MARKERS)],
    }


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty figure of ``width`` x ``height`` inches, laid out automatically."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: "Figure", path: str | os.PathLike[str], *, dpi: int = 120) -> Path:
    """Write a figure atomically, in the format that the name's ending says; PDF with its fonts.

    The same figure is the same bytes.

    Args:
        figure: what to write.
        path: the file.
        dpi: dots per inch.

    Returns:
        The path.
    """
    import matplotlib

    path = Path(path)
    kind = picture_format(path)
    metadata = {"CreationDate": None} if kind == "pdf" else None
    with (
        atomic_path(path) as temporary,
        matplotlib.rc_context({"pdf.fonttype": 42}),
        warnings.catch_warnings(),
    ):
        # A name in a script that the font lacks is drawn as boxes: no reason to complain.
        warnings.filterwarnings("ignore", message=r"Glyph \d+", category=UserWarning)
        figure.savefig(temporary, format=kind, dpi=dpi, facecolor="white", metadata=metadata)
    return path


def save_picture(picture: "Image", path: str | os.PathLike[str]) -> None:
    """Write a Pillow image, atomically, in the format that the name's ending says.

    Raises:
        UserError: see ``picture_format``.
    """
    form = picture_format(path)
    with atomic_path(path) as temporary:
        picture.save(temporary, format=form)


def picture_format(path: str | os.PathLike[str]) -> str:
    """The format of a picture by the ending of its name; PNG where it has none.

    Raises:
        UserError: another ending.

    Example:
        >>> picture_format("confusions.png")
        'png'
    """
    ending = Path(path).suffix.lower()
    if ending not in _FORMATS:
        raise UserError(
            f"got picture {printable(str(path))}, expected a name that ends in "
            f"{', '.join(filter(None, _FORMATS))}"
        )
    return _FORMATS[ending]


def shared_legend(
    figure: "Figure",
    panels: "Iterable[Axes]",
    *,
    columns: int | None = None,
    title: str | None = None,
    size: float = 8,
) -> None:
    """Put one legend for several panels under a figure, each entry once.

    Args:
        figure: where it goes.
        panels: whose entries are listed.
        columns: at most this many side by side; all of them by default.
        title: above the entries.
        size: of the type, in points.
    """
    entries: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=min(columns or len(entries), len(entries)),
        fontsize=size,
        frameon=False,
        title=title,
        title_fontsize=size,
    )
