"""Whether SPAM's spectral filter learns, why it stays where it starts, and whether it pays."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import nn
from torch.optim import Optimizer

from spanetv2.drawing import GREY, new_figure
from spanetv2.table import Table
from studies.evidence.compare import by_seed, difference, mean_cell, paired_cell
from studies.evidence.filters import EDITS, flattened, gate_rows, signal_rows
from studies.evidence.images import Images
from studies.evidence.part import Claim, Condition, Context, Part, Tables
from studies.evidence.recipe import Recipe
from studies.evidence.scale import Scale
from studies.evidence.stack import Stack
from studies.evidence.store import Record
from studies.evidence.tuning import trained
from studies.mixers.rows import REFERENCE

__all__ = ["Gates"]

_PLAIN = "as published"
_NONE = "no filter"
_RECIPES: dict[str, dict[str, Any]] = {
    "rate x 10": {"filter_lr": 10.0},
    "rate x 100": {"filter_lr": 100.0},
    "no decay": {"filter_decay": 0.0},
    "frozen at 0.5": {"filter_lr": 0.0},
    "frozen low-pass": {"filter_lr": 0.0},
}
_ROWS = {_NONE: "spam_no_srf", "scaled gate": "spam_scaled_sigmoid"}
VARIANTS = (
    *(_PLAIN, _NONE, "rate x 10", "rate x 100", "frozen at 0.5", "low-pass start"),
    *("high-pass start", "identity start", "frozen low-pass", "scaled gate", "no norm behind"),
    *("norm in front", "no decay"),
)


class Gates(Part):
    """The gates of SPAM's filter over a training, as published and changed in one thing each."""

    name = "gates"
    question = "Does the spectral filter learn, and does it pay when it does?"
    keys = ("variant",)

    def conditions(self, scale: Scale) -> list[Condition]:
        return [{"variant": variant} for variant in VARIANTS]

    def recipe(self, condition: Condition, context: Context) -> Recipe:
        return context.recipe(REFERENCE, **_RECIPES.get(condition["variant"], {}))

    def make(self, condition: Condition, context: Context) -> Callable[[], nn.Module]:
        variant = condition["variant"]
        row = _ROWS.get(variant, REFERENCE)
        return context.network(row, context.scale.skeleton, EDITS.get(variant))

    def images(self, condition: Condition, context: Context) -> Images:
        return context.load(context.scale.data)

    def run(
        self,
        condition: Condition,
        seeds: tuple[int, ...],
        context: Context,
        advance: Callable[[int], object],
    ) -> dict[str, list[Record]]:
        gates: list[Record] = []
        signals: list[Record] = []

        def watch(stack: Stack, _: Images) -> Callable[[int, list[Optimizer]], None]:
            def look(update: int, optimizers: list[Optimizer]) -> None:
                gates.extend({**condition, **row} for row in gate_rows(stack, update))
                signals.extend(
                    {**condition, **row} for row in signal_rows(stack, optimizers, update)
                )

            return look

        found = trained(self, condition, seeds, context, advance, watch=watch)
        stack, images, _, runs, curve = found
        for run, top1, flat in zip(
            runs,
            stack.accuracy(images.test_images, images.test_labels),
            stack.accuracy(images.test_images, images.test_labels, edit=flattened),
            strict=True,
        ):
            run |= {"top1": top1, "flat_top1": flat}
        return {"runs": runs, "curves": curve, "gates": gates, "signals": signals}

    def claims(self, tables: Tables) -> list[Claim]:
        def top1(variant: str) -> dict[int, float]:
            return by_seed(tables["runs"], "top1", scale=100, variant=variant)

        plain = top1(_PLAIN)
        flat = by_seed(tables["runs"], "flat_top1", scale=100, variant=_PLAIN)
        found = [
            *difference("The filter raises accuracy over none", plain, top1(_NONE)),
            *difference(
                "The filter raises accuracy over one frozen at 0.5", plain, top1(VARIANTS[4])
            ),
            *difference(
                "A trained network loses accuracy when its gates are flattened", plain, flat
            ),
        ]
        for variant in ("rate x 10", "rate x 100", "identity start", "no decay", "norm in front"):
            text = f"SPAM gains accuracy by its filter's {variant}"
            if not variant.startswith("rate"):
                text = f"SPAM gains accuracy by '{variant}'"
            found += difference(text, top1(variant), plain)
        spread = _final(tables, "spread")
        for variant in ("rate x 10", "rate x 100"):
            text = f"The gates spread more at {variant}"
            found += difference(text, spread.get(variant, {}), spread.get(_PLAIN, {}), "gate")
        return found

    def tables(self, tables: Tables) -> list[Table]:
        runs = tables["runs"]
        plain = by_seed(runs, "top1", scale=100, variant=_PLAIN)
        mean, spread, contrast = (_final(tables, name) for name in ("mean", "spread", "contrast"))
        steady = _steadiness(tables)
        lines = []
        for variant in dict.fromkeys(run["variant"] for run in runs):
            top1 = by_seed(runs, "top1", scale=100, variant=variant)
            flat = by_seed(runs, "flat_top1", scale=100, variant=variant)
            lines.append(
                [
                    variant,
                    str(len(top1)),
                    mean_cell(top1),
                    "" if variant == _PLAIN else paired_cell(top1, plain),
                    "" if variant == _NONE else paired_cell(flat, top1),
                    mean_cell(mean.get(variant, {}), 3),
                    mean_cell(spread.get(variant, {}), 3),
                    mean_cell(contrast.get(variant, {})),
                    mean_cell(steady.get(variant, {})),
                ]
            )
        header = [
            *("filter", "seeds", "top-1 %", "minus as published", "when gates are flattened"),
            *("mean gate", "spread", "contrast dB", "steadiness"),
        ]
        return [Table("The filter's variants", header, lines)]

    def draw(self, tables: Tables) -> Figure | None:
        rows = tables.get("gates", [])
        shown = [v for v in (_PLAIN, "rate x 10", "rate x 100", "identity start") if _has(rows, v)]
        if not shown:
            return None
        stages = sorted({row["stage"] for row in rows})
        figure = new_figure(2.6 * len(shown) + 0.6, 1.9 * len(stages) + 0.6)
        panels = figure.subplots(len(stages), len(shown), sharex=True, sharey=True, squeeze=False)
        for line, stage in zip(panels, stages, strict=True):
            for axes, variant in zip(line, shown, strict=True):
                for head, side in enumerate((3, 5, 7, 9), 1):
                    chosen = [
                        row
                        for row in rows
                        if (row["variant"], row["stage"], row["head"]) == (variant, stage, head)
                    ]
                    updates = sorted({row["update"] for row in chosen})
                    at = [[row for row in chosen if row["update"] == u] for u in updates]
                    mean = np.array([np.mean([row["mean"] for row in some]) for some in at])
                    sd = np.array([np.mean([row["spread"] for row in some]) for some in at])
                    (drawn,) = axes.plot(updates, mean, label=f"{side}x{side}", linewidth=1.2)
                    axes.fill_between(
                        updates, mean - sd, mean + sd, color=drawn.get_color(), alpha=0.12
                    )
                axes.axhline(0.5, color=GREY, linewidth=0.7)
                axes.tick_params(labelsize=8)
                axes.grid(alpha=0.3)
                if stage == stages[0]:
                    axes.set_title(variant, fontsize=9)
                if stage == stages[-1]:
                    axes.set_xlabel("update", fontsize=8)
                if variant == shown[0]:
                    axes.set_ylabel(f"gate, stage {stage}", fontsize=8)
        panels[0, 0].legend(fontsize=7, frameon=False)
        return figure


def _has(rows: list[Record], variant: str) -> bool:
    return any(row["variant"] == variant for row in rows)


def _final(tables: Tables, column: str) -> dict[str, dict[int, float]]:
    """Mean of a gate figure over stages and heads at the end, by variant and seed."""
    rows = tables.get("gates", [])
    last = max((row["update"] for row in rows), default=0)
    groups: dict[str, dict[int, list[float]]] = {}
    for row in rows:
        if row["update"] == last:
            groups.setdefault(row["variant"], {}).setdefault(row["seed"], []).append(row[column])
    return {
        variant: {seed: float(np.mean(values)) for seed, values in seeds.items()}
        for variant, seeds in groups.items()
    }


def _steadiness(tables: Tables) -> dict[str, dict[int, float]]:
    """Mean over the run of the filter's steadiness over that of other weights, by variant, seed."""
    groups: dict[tuple[str, int, str], list[float]] = {}
    for row in tables.get("signals", []):
        key = (row["variant"], row["seed"], row["weights"])
        groups.setdefault(key, []).append(row["steadiness"])
    found: dict[str, dict[int, float]] = {}
    for (variant, seed, weights), values in groups.items():
        if weights == "filter":
            other = groups[variant, seed, "other"]
            found.setdefault(variant, {})[seed] = float(np.mean(values) / np.mean(other))
    return found
