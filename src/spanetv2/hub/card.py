"""A model card: what weights are, in Markdown.

The same for the weights in the package, for runs and for networks pushed from Python: a sentence,
how to use them, a table of facts, figures, pictures, limits.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks import find_task
from spanetv2.text import printable

__all__ = [
    "MARK",
    "Card",
    "describe_classes",
    "describe_file",
    "describe_images",
    "describe_length",
    "figure_rows",
    "show_figure",
    "summarise",
]

MARK = "<!-- Written by spanetv2. Remove this line to keep your own changes when pushing again. -->"
"""In a card on the Hub that may be written again."""

_MOST_CLASSES = 40
_COLOURS = {1: "grey", 3: "RGB"}


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a card says.

    Args:
        title: heading.
        summary: first sentence, without a full stop.
        usage: (language, lines of code), shown as blocks.
        facts: a table, label -> text.
        measured: the sentence over the figures.
        columns: headings of the columns of figures.
        figures: rows: a name, and a text for each column.
        pictures: title -> path beside the card.
        limits: what is not known or not so, a paragraph each.
        metadata: for the Hub, lines of YAML without the rules around; "" for none.
    """

    title: str
    summary: str
    usage: Sequence[tuple[str, str]]
    facts: Mapping[str, str]
    measured: str = ""
    columns: Sequence[str] = ()
    figures: Sequence[Sequence[str]] = ()
    pictures: Mapping[str, str] = field(default_factory=dict)
    limits: Sequence[str] = ()
    metadata: str = ""

    def text(self) -> str:
        """The card in Markdown."""
        head = f"---\n{self.metadata.strip()}\n---\n\n{MARK}\n\n" if self.metadata else ""
        parts = [f"# {self.title}", f"{self.summary}."]
        parts += [f"```{language}\n{code}\n```" for language, code in self.usage]
        parts.append(_table(("", ""), [(k, v) for k, v in self.facts.items() if v]))
        if self.figures:
            parts += [self.measured, _table(("", *self.columns), self.figures)]
        parts += [f"![{title}]({path})" for title, path in self.pictures.items()]
        if self.limits:
            parts += ["## Limits", *self.limits]
        return head + "\n\n".join(part for part in parts if part) + "\n"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    first = "|" + "|".join(f" {_cell(text)} " if text else " " for text in header) + "|"
    return "\n".join((first, "|" + "---|" * len(header), *lines))


def _cell(text: str) -> str:
    """One line, which does not end the cell."""
    return printable(" ".join(text.split())).replace("|", "\\|")


def show_figure(key: str, value: float) -> str:
    """A figure: a percentage, but for losses.

    Example:
        >>> show_figure("top1", 0.5), show_figure("loss", 0.5)
        ('50.00 %', '0.5000')
    """
    return f"{value:.4f}" if key == "loss" else f"{100 * value:.2f} %"


def figure_rows(task: str, *measured: Mapping[str, Any]) -> list[list[str]]:
    """Rows of a task's figures, a column for each measurement.

    Args:
        task: its name.
        *measured: figure -> value; rows are those of the first.
    """
    titles = find_task(task).figure_titles
    return [
        [title, *(show_figure(key, of[key]) if key in of else "" for of in measured)]
        for key, title in titles.items()
        if isinstance(measured[0].get(key), int | float)
    ]


def summarise(name: str | None, task: str, figures: Mapping[str, Any]) -> str:
    """A network and its first figures in a sentence.

    Example:
        >>> summarise("spanetv2_pico_pure", "classification", {"top1": 0.9, "loss": 1.0})
        'spanetv2_pico_pure for classification: top-1 90.00 %'
    """
    rows = [row for row in figure_rows(task, figures) if row[0] != "loss"][:2]
    reached = ", ".join(" ".join(row) for row in rows)
    return f"{name or 'A network'} for {task}" + (f": {reached}" if reached else "")


def describe_file(path: Path, checkpoint: Checkpoint) -> dict[str, str]:
    """The facts about a file of weights."""
    content = path.read_bytes()
    numbers = sum(v.numel() for v in checkpoint.state_dict.values() if v.is_floating_point())
    return {
        "file": f"{len(content):,} bytes",
        "SHA-256": f"`{hashlib.sha256(content).hexdigest()}`",
        "weights": f"{numbers / 1e6:.2f} M numbers",
    }


def describe_images(checkpoint: Checkpoint) -> str:
    """Size and colours of images, and what the network is made for."""
    options = checkpoint.model_kwargs
    channels = options.get("in_chans", 3)
    colours = _COLOURS.get(channels, f"{channels} channels")
    stem = f"; stem of stride {options['stem_stride']}" if "stem_stride" in options else ""
    return f"{colours}, {find_task(checkpoint.task).describe_input(checkpoint)}{stem}"


def describe_classes(classes: Sequence[str]) -> str:
    """The first names, and how many there are."""
    more = f" and {len(classes) - _MOST_CLASSES} more" if len(classes) > _MOST_CLASSES else ""
    return ", ".join(classes[:_MOST_CLASSES]) + more


def describe_length(training: Mapping[str, Any]) -> str:
    """How long a run was, from what its metrics.json says of its training.

    Example:
        >>> describe_length({"epochs": 3, "updates": 1500, "seconds": 1260.0})
        '3 epochs, 1,500 updates, 21 minutes'
    """
    counts = {name[:-1]: training[name] for name in ("epochs", "updates") if name in training}
    if "seconds" in training:
        counts["minute"] = round(training["seconds"] / 60)
    return ", ".join(f"{n:,} {unit}{'s' * (n != 1)}" for unit, n in counts.items())
