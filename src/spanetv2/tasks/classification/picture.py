"""Pictures of a classification run: curves, confusions and a sheet of predictions.

Every function takes plain data, writes one PNG atomically and returns nothing. The picture of the
learned filters lives in :mod:`spanetv2.analysis.spam_filters` and is offered here too.
"""

import csv
import itertools
import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from spanetv2.analysis.spam_filters import spectral_filters
from spanetv2.drawing import (
    COLOURS,
    GREEN,
    GREY,
    VERMILION,
    new_figure,
    save_figure,
)
from spanetv2.errors import UserError
from spanetv2.text import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "SheetRow",
    "confusion_matrix",
    "prediction_sheet",
    "spectral_filters",
    "training_curves",
]

# Beyond this many classes a number in every cell, or a name on every row, cannot be read.
MAX_CELLS_WITH_COUNTS = 20
MAX_NAMED_CLASSES = 60

_ACCURACY = re.compile(r"top1|top5|acc")
_FRACTIONS = re.compile(r"top1|top5|acc|iou|f1|(^|[/_])m?ap(\d\d)?($|_)")


@dataclass(frozen=True, kw_only=True)
class SheetRow:
    """What is written under one image of a prediction sheet."""

    predicted: str
    """Name of the class with the highest probability."""
    probability: float | None
    """Its probability, 0 to 1; None where there is no such class."""
    true: str | None = None
    """Name of the right class; None where it is not known."""

    def __post_init__(self) -> None:
        if self.probability is not None and not 0.0 <= self.probability <= 1.0:
            raise UserError(
                f"got probability {self.probability!r} for class {self.predicted!r}, expected a "
                "number from 0 to 1: pass the softmax of the logits"
            )

    @property
    def wrong(self) -> bool:
        """Whether the right class is known and another one was predicted."""
        return self.true is not None and self.true != self.predicted


def training_curves(metrics_csv: str | os.PathLike[str], out_png: str | os.PathLike[str]) -> None:
    """Draw loss, accuracy and learning rate over the steps of a run.

    Args:
        metrics_csv: the table Lightning's CSV logger writes: a ``step`` column and one column per
            logged value, empty where a value was not logged. Columns are recognised by name:
            "loss", "lr", and figures that are fractions, drawn in percent: "top1", "top5", "acc",
            "iou", "ap", "map", "f1".
        out_png: the picture to write.

    Raises:
        UserError: the table cannot be read or holds none of these columns.
    """
    columns = _read_metrics(metrics_csv)
    losses = {name: points for name, points in columns.items() if "loss" in name.lower()}
    accuracies = {name: points for name, points in columns.items() if _is_accuracy(name)}
    rates = _distinct({name: points for name, points in columns.items() if _is_rate(name)})
    share = "accuracy (%)" if any(_ACCURACY.search(name) for name in accuracies) else "figures (%)"
    panels = [
        (losses, "loss"),
        ({n: (s, 100 * v) for n, (s, v) in accuracies.items()}, share),
        (rates, "learning rate"),
    ]
    panels = [(curves, label) for curves, label in panels if curves]
    if not panels:
        raise UserError(
            f"got {os.fspath(metrics_csv)!r} without a loss, accuracy or learning-rate column, "
            "expected the metrics.csv of a training run"
        )
    figure = new_figure(4.6 * len(panels), 3.6)
    for position, (curves, label) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), position + 1)
        for colour, (name, (steps, values)) in zip(
            itertools.cycle(COLOURS), curves.items(), strict=False
        ):
            _draw_curve(axes, steps, values, name=name, colour=colour)
        axes.set_xlabel("optimiser step")
        axes.set_title(label)
        axes.grid(alpha=0.3)
        if label == share:
            _mark_best(axes, curves)
        if len(axes.lines) and len(curves) <= len(COLOURS):
            axes.legend(fontsize=8, frameon=False)
    save_figure(figure, out_png)


def confusion_matrix(matrix: Any, classes: Sequence[str], out_png: str | os.PathLike[str]) -> None:
    """Draw how often each class was taken for each other one.

    Args:
        matrix: counts (classes, classes): rows are the true classes, columns the predicted ones.
        classes: their names, in the order of the rows.
        out_png: the picture to write.

    Raises:
        UserError: the matrix is not square, or has another number of classes than ``classes``.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    if counts.ndim != 2 or counts.shape != (len(classes), len(classes)):
        raise UserError(
            f"got a confusion matrix of shape {counts.shape} for {len(classes)} class names, "
            f"expected ({len(classes)}, {len(classes)})"
        )
    from matplotlib.colors import PowerNorm

    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    size = min(12.0, max(5.0, 0.45 * len(classes) + 2.0))
    figure = new_figure(size + 0.8, size)
    axes = figure.add_subplot()
    # The square root lifts the rare mistakes, which are what one looks for, off the background.
    image = axes.imshow(100 * share, cmap="cividis", norm=PowerNorm(0.5, vmin=0, vmax=100))
    figure.colorbar(image, ax=axes, label="share of the true class (%)", shrink=0.85)
    if len(classes) <= MAX_CELLS_WITH_COUNTS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            light = share[row, column] < 0.35
            axes.text(
                column,
                row,
                f"{counts[row, column]:.0f}",
                color="white" if light else "black",
                ha="center",
                va="center",
                fontsize=8,
                fontweight="normal" if row == column else "bold",
            )
    if len(classes) <= MAX_NAMED_CLASSES:
        names = [shorten(name, 18) for name in classes]
        font = 9 if len(classes) <= MAX_CELLS_WITH_COUNTS else 6
        tilt = 0 if max(map(len, names), default=0) <= 3 else 90
        ticks = range(len(classes))
        axes.set_xticks(ticks, names, rotation=tilt, fontsize=font, parse_math=False)
        axes.set_yticks(ticks, names, fontsize=font, parse_math=False)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    hits, images = float(np.trace(counts)), float(counts.sum())
    accuracy = f"{100 * hits / images:.2f} %" if images else "no images"
    axes.set_title(f"{images:.0f} images, {images - hits:.0f} wrong, top-1 {accuracy}", fontsize=10)
    save_figure(figure, out_png)


def prediction_sheet(
    images: Sequence[Image.Image | np.ndarray],
    rows: Sequence[SheetRow],
    out_png: str | os.PathLike[str],
    *,
    limit: int = 48,
    title: str | None = None,
) -> None:
    """Draw images with what the model says about them, mistakes first and framed.

    Mistakes come first, the most confident one leading; the others follow in the order given.

    Args:
        images: what was classified: PIL images of any mode, or uint8 arrays (H, W) or (H, W, 3).
        rows: one row per image.
        out_png: the picture to write.
        limit: at most this many images are drawn.
        title: heading; by default it says how many are wrong and how many are drawn.

    Raises:
        UserError: no image, or another number of rows than images.
    """
    if not images or len(images) != len(rows):
        raise UserError(
            f"got {len(images)} images and {len(rows)} rows, expected the same number, at least 1"
        )
    mistakes = sum(row.wrong for row in rows)
    order = sorted(
        range(len(rows)),
        key=lambda i: (0, -(rows[i].probability or 0.0)) if rows[i].wrong else (1, 0.0),
    )[: max(1, limit)]
    columns = min(8, len(order))
    lines = math.ceil(len(order) / columns)
    figure = new_figure(1.45 * columns + 0.3, 1.8 * lines + 0.6)
    # A column of one image would have no room for the heading.
    figure.set_figwidth(max(figure.get_figwidth(), 4.6))
    for position, index in enumerate(order):
        axes = figure.add_subplot(lines, columns, position + 1)
        _draw_cell(axes, images[index], rows[index])
    if title is None:
        known = sum(row.true is not None for row in rows)
        title = f"{len(order)} of {len(rows)} images"
        if known:
            title += f"; {mistakes} of {known} wrong" + (", shown first" if mistakes else "")
    figure.suptitle(title, fontsize=11, parse_math=False)
    save_figure(figure, out_png)


def _draw_cell(axes: "Axes", image: Image.Image | np.ndarray, row: SheetRow) -> None:
    pixels = np.asarray(image if isinstance(image, np.ndarray) else image.convert("RGB"))
    small = max(pixels.shape[:2]) < 100
    axes.imshow(pixels, cmap="gray", interpolation="nearest" if small else "antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
    percent = "" if row.probability is None else f"{100 * row.probability:.0f} %"
    if row.wrong:
        text = f"✗ {shorten(row.predicted, 14)}  {percent}\ntrue: {shorten(row.true or '', 14)}"
        colour, width = VERMILION, 3.0
    elif row.true is not None:
        text, colour, width = f"✓ {shorten(row.predicted, 14)}  {percent}", GREEN, 1.0
    else:
        text, colour, width = f"{shorten(row.predicted, 16)}  {percent}", GREY, 0.8
    for spine in axes.spines.values():
        spine.set_color(colour)
        spine.set_linewidth(width)
    weight = "bold" if row.wrong else "normal"
    axes.set_xlabel(text, fontsize=9, color=colour, fontweight=weight, parse_math=False)


_Curve = tuple[np.ndarray, np.ndarray]


def _read_metrics(path: str | os.PathLike[str]) -> dict[str, _Curve]:
    """Read the columns of a Lightning metrics table as (steps, values), without empty cells."""
    try:
        with Path(path).open(newline="", encoding="utf-8") as stream:
            table = list(csv.DictReader(stream))
    except OSError as error:
        raise UserError(
            f"cannot read {os.fspath(path)!r} ({error.strerror}), expected the metrics.csv of a run"
        ) from error
    collected: dict[str, list[tuple[float, float]]] = {}
    for line, cells in enumerate(table):
        step = _number(cells.get("step")) if cells.get("step") else float(line)
        for name, cell in cells.items():
            value = _number(cell)
            if name not in (None, "step", "epoch") and value is not None and step is not None:
                collected.setdefault(name, []).append((step, value))
    curves = {}
    for name, points in collected.items():
        pairs = np.asarray(points, dtype=np.float64)
        curves[name] = (pairs[:, 0], pairs[:, 1])
    return curves


def _number(cell: Any) -> float | None:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return None


def _is_accuracy(name: str) -> bool:
    return _FRACTIONS.search(name.lower()) is not None


def _is_rate(name: str) -> bool:
    lowered = name.lower()
    return lowered == "lr" or lowered.startswith(("lr-", "lr/", "lr_")) or "learning" in lowered


def _distinct(curves: dict[str, _Curve]) -> dict[str, _Curve]:
    """Drop curves that lie on one already there: parameter groups often share one rate."""
    kept: dict[str, _Curve] = {}
    for name, (steps, values) in curves.items():
        if not any(
            np.array_equal(steps, s) and np.array_equal(values, v) for s, v in kept.values()
        ):
            kept[name] = (steps, values)
    return kept


def _draw_curve(
    axes: "Axes", steps: np.ndarray, values: np.ndarray, *, name: str, colour: str
) -> None:
    """Draw one curve; a long noisy one faintly, with its running mean over it."""
    if len(values) < 60 or _is_rate(name):
        marker = "o" if len(values) < 30 else None
        axes.plot(steps, values, color=colour, label=name, marker=marker, markersize=3)
        return
    axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
    width = max(3, len(values) // 40)
    finite = np.nan_to_num(values)
    smooth = np.convolve(finite, np.ones(width) / width, mode="valid")
    axes.plot(steps[width - 1 :], smooth, color=colour, label=f"{name} (mean of {width})")


def _mark_best(axes: "Axes", curves: dict[str, _Curve]) -> None:
    """Write the best validation top-1 into the panel."""
    named = [n for n in curves if "val" in n.lower() and "top5" not in n.lower()]
    if not named:
        return
    steps, values = curves[named[0]]
    if not np.isfinite(values).any():
        return
    best = int(np.nanargmax(values))
    axes.axhline(values[best], color=GREY, linewidth=0.8, linestyle=":")
    axes.text(
        0.98,
        0.04,
        f"best {named[0]}: {values[best]:.2f} % at step {steps[best]:.0f}",
        transform=axes.transAxes,
        ha="right",
        fontsize=8,
        parse_math=False,
    )
