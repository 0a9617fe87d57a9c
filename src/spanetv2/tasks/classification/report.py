"""One page that shows a whole run: what was trained, how well, pictures, and how to go on."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spanetv2 import page
from spanetv2.errors import UserError
from spanetv2.files import read_json, read_text, write_text

__all__ = ["html_report"]

# file name, heading, what the reader sees in it
PICTURES = (
    (
        "training_curves.png",
        "Training curves",
        "Loss, accuracy and learning rate over the optimiser steps.",
    ),
    (
        "predictions.png",
        "Predictions",
        "Held-out images with the predicted class and its probability. Mistakes come first, in a "
        "thick frame.",
    ),
    (
        "confusion_matrix.png",
        "Confusion matrix",
        "Rows are the true classes, columns what the model said; mistakes are off the diagonal.",
    ),
    (
        "spectral_filters.png",
        "What the spectral filters learned",
        "How much of each spatial frequency every head of the mixer lets through. Frequency 0 "
        "(flat areas) is in the middle, fine detail at the edges, in radians per token. Orange "
        "passes more and purple less than a filter that has learned nothing.",
    ),
)

# figures of metrics.json that are shown at the top, and the columns of its table per class
FIGURES = {
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "loss": "loss",
    "images": "images evaluated",
    "images_per_second": "images per second",
}
COLUMNS = ("class", "title", "images", "top1", "precision", "f1")


def html_report(
    folder: str | os.PathLike[str],
    *,
    title: str = "SPANetV2 training run",
    facts: Mapping[str, str] | None = None,
    commands: Sequence[tuple[str, str]] = (),
) -> None:
    """Write ``folder/index.html`` from what the folder holds.

    Read where they exist: ``metrics.json``, ``versions.json``, ``config.yaml`` and the pictures
    named in ``PICTURES``.

    Args:
        folder: the run's folder.
        title: heading of the page.
        facts: what was trained, as label -> value, shown before the figures.
        commands: how to go on: (what it does, command line).

    Raises:
        UserError: the folder does not exist, or a JSON file in it cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"got {str(folder)!r}, expected the folder of a training run")
    metrics = _read_json(folder / "metrics.json")
    versions = _read_json(folder / "versions.json")
    parts = []
    if shown := {**(facts or {}), **_figures(metrics)}:
        parts.append(page.cards(shown))
    for name, heading, caption in PICTURES:
        path = folder / name
        if path.is_file():
            # Broad pictures would shrink to nothing on a phone.
            wide = name != "confusion_matrix.png"
            picture = page.figure(path, caption, wide=wide, alt=heading)
            parts.append(page.section(heading, picture))
    if per_class := _per_class(metrics.get("classes")):
        parts.append(page.section("Per class", per_class))
    if commands:
        steps = [page.paragraph(what) + page.listing(line) for what, line in commands]
        parts.append(page.section("How to go on", *steps))
    configuration = folder / "config.yaml"
    if configuration.is_file():
        text = page.listing(read_text(configuration, expected="the configuration of a run"))
        hidden = page.details("config.yaml, every value as it was used", text)
        parts.append(page.section("Configuration", hidden))
    if versions:
        rows = page.table(["", "value"], _flatten(versions).items())
        parts.append(page.section("Versions and machine", page.details("versions.json", rows)))
    write_text(folder / "index.html", page.document(title, "\n".join(parts)))


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    value = read_json(path, expected="a JSON object")
    if not isinstance(value, dict):
        raise UserError(f"got a {type(value).__name__} in {str(path)!r}, expected a JSON object")
    return value


def _figures(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Pick the figures that sum up a run, under names a reader knows."""
    shown = {}
    for name, title in FIGURES.items():
        value = metrics.get(name)
        if not isinstance(value, int | float):
            continue
        if name in ("top1", "top5"):
            shown[title] = f"{100 * value:.2f} %"
        elif isinstance(value, int) or value >= 1000:
            shown[title] = f"{value:,.0f}"
        else:
            shown[title] = f"{value:.4g}"
    return shown


def _per_class(rows: Any) -> str:
    """Make the table per class; a title that repeats the class name is left out."""
    rows = [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []
    if not rows:
        return ""
    titled = any(row.get("title") != row.get("class") for row in rows)
    columns = [c for c in COLUMNS if (titled or c != "title") and any(c in row for row in rows)]
    return page.table(columns, [[row.get(c) for c in columns] for row in rows])


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Turn nested settings into dotted names: {"a": {"b": 1}} gives {"a.b": "1"}."""
    flat: dict[str, str] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            flat.update(_flatten(item, f"{prefix}{name}."))
        elif isinstance(item, list):
            flat[f"{prefix}{name}"] = " ".join(map(str, item))
        else:
            flat[f"{prefix}{name}"] = str(item)
    return flat
