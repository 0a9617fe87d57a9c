"""One page that shows a whole run: what was trained, how well, pictures, and how to go on.

The page is a single file without outside resources: pictures are embedded, so it can be mailed or
opened from a disk. It reads on a phone and follows the reader's light or dark setting.
"""

import base64
import json
import os
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from spanetv2.errors import UserError
from spanetv2.files import write_text

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

STYLE = """
:root { color-scheme: light dark; --back: #ffffff; --text: #1c1e21; --soft: #5b6470;
  --line: #d7dce2; --card: #f4f6f8; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --text: #e8eaed; --soft: #a3adb8;
  --line: #353c44; --card: #1e2328; --accent: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 70rem; background: var(--back);
  color: var(--text); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p, figcaption { color: var(--soft); max-width: 46rem; }
.cards { display: grid; gap: .75rem; padding: 0;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
.cards div { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .6rem .8rem; }
.cards dt { color: var(--soft); font-size: .85rem; }
.cards dd { margin: 0; font-size: 1.05rem; font-weight: 600; }
figure { margin: 1rem 0; } figcaption { margin-bottom: .6rem; }
.picture { overflow-x: auto; border-radius: .5rem;
  border: 1px solid var(--line); background: #ffffff; }
.picture img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
.picture.wide img { min-width: 48rem; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .7rem .9rem; overflow-x: auto; font-size: .9rem; overflow-wrap: normal; }
summary { cursor: pointer; color: var(--accent); padding: .4rem 0; }
"""


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
    parts = [f"<h1>{escape(title)}</h1>"]
    cards = {**(facts or {}), **_figures(metrics)}
    if cards:
        parts.append(_cards(cards))
    parts += [
        _figure(folder / name, heading, caption)
        for name, heading, caption in PICTURES
        if (folder / name).is_file()
    ]
    per_class = _per_class(metrics.get("classes"))
    if per_class:
        parts.append(f"<h2>Per class</h2>{_table(per_class)}")
    if commands:
        parts.append("<h2>How to go on</h2>")
        parts += [f"<p>{escape(what)}</p><pre>{escape(line)}</pre>" for what, line in commands]
    configuration = folder / "config.yaml"
    if configuration.is_file():
        text = configuration.read_text(encoding="utf-8")
        parts.append(
            "<h2>Configuration</h2><details><summary>config.yaml, every value as it was used"
            f"</summary><pre>{escape(text)}</pre></details>"
        )
    if versions:
        rows = [{"": name, "value": value} for name, value in _flatten(versions).items()]
        parts.append(
            "<h2>Versions and machine</h2><details><summary>versions.json</summary>"
            f"{_table(rows)}</details>"
        )
    body = "\n".join(parts)
    write_text(
        folder / "index.html",
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n",
    )


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(f"cannot read {str(path)!r} ({error}), expected JSON") from error
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


def _per_class(rows: Any) -> list[dict[str, Any]]:
    """Pick the columns of the table per class; a title that repeats the class name is left out."""
    if not isinstance(rows, list):
        return []
    rows = [row for row in rows if isinstance(row, Mapping)]
    titled = any(row.get("title") != row.get("class") for row in rows)
    columns = [c for c in COLUMNS if titled or c != "title"]
    return [{c: row[c] for c in columns if c in row} for row in rows]


def _cards(facts: Mapping[str, str]) -> str:
    items = "".join(
        f"<div><dt>{escape(str(name))}</dt><dd>{escape(str(value))}</dd></div>"
        for name, value in facts.items()
    )
    return f'<dl class="cards">{items}</dl>'


def _figure(path: Path, heading: str, caption: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    # Broad pictures would shrink to nothing on a phone: they keep a width and scroll sideways.
    wide = "" if path.name == "confusion_matrix.png" else " wide"
    return (
        f"<h2>{escape(heading)}</h2><figure><figcaption>{escape(caption)}</figcaption>"
        f'<div class="picture{wide}"><img alt="{escape(heading)}" '
        f'src="data:image/png;base64,{data}"></div></figure>'
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    columns = list(rows[0])
    numeric = {c for c in columns if all(_is_number(row.get(c)) for row in rows)}

    def cell(tag: str, column: str, text: str) -> str:
        kind = ' class="number"' if column in numeric else ""
        return f"<{tag}{kind}>{escape(text)}</{tag}>"

    head = "".join(cell("th", c, c.replace("_", " ")) for c in columns)
    lines = "".join(
        "<tr>" + "".join(cell("td", c, _plain(row.get(c))) for c in columns) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{lines}</table></div>'


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


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
