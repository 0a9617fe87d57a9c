"""Whether AdamW is fragile on SPAM at a rate of 3e-3, and what of SPAM makes it so."""

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure
from torch import nn

from spanetv2.drawing import new_figure
from spanetv2.page import DASH
from spanetv2.table import Table
from studies.evidence.compare import by_seed, difference, mean_cell
from studies.evidence.filters import EDITS
from studies.evidence.images import Images
from studies.evidence.part import Claim, Condition, Context, Part, Tables
from studies.evidence.recipe import Recipe
from studies.evidence.scale import Scale
from studies.evidence.store import Record
from studies.evidence.tuning import trained
from studies.mixers.rows import REFERENCE

__all__ = ["Rates"]

_ROWS = {
    "SPAM": REFERENCE,
    "no filter": "spam_no_srf",
    "sepconv": "sepconv",
    "attention": "attention",
}
_VARIANTS = ("SPAM", "initial std 0.02", "sepconv", "attention", "no filter", "no norm behind")
RATES = ("0.001", "0.003", "0.01", "0.03")
WARMUP = 0.1


class Rates(Part):
    """Training at rates from safe to too high: SPAM, SPAM without a piece, and other mixers."""

    name = "rates"
    question = "Is AdamW fragile on SPAM at a rate of 3e-3?"
    keys = ("variant", "lr")

    def conditions(self, scale: Scale) -> list[Condition]:
        return [{"variant": variant, "lr": lr} for variant in _VARIANTS for lr in RATES]

    def recipe(self, condition: Condition, context: Context) -> Recipe:
        row = _ROWS.get(condition["variant"], REFERENCE)
        return context.recipe(row, lr=float(condition["lr"]), weight_decay=0.05, warmup=WARMUP)

    def make(self, condition: Condition, context: Context) -> Callable[[], nn.Module]:
        variant = condition["variant"]
        row = _ROWS.get(variant, REFERENCE)
        return context.network(row, context.scale.skeleton, EDITS.get(variant))

    def images(self, condition: Condition, context: Context) -> Images:
        return context.load(context.scale.data).held_out()

    def run(
        self,
        condition: Condition,
        seeds: tuple[int, ...],
        context: Context,
        advance: Callable[[int], object],
    ) -> dict[str, list[Record]]:
        stack, images, _, runs, curve = trained(self, condition, seeds, context, advance)
        for run, top1 in zip(
            runs, stack.accuracy(images.test_images, images.test_labels), strict=True
        ):
            run |= {**condition, "held_out_top1": top1}
        return {"runs": runs, "curves": curve}

    def claims(self, tables: Tables) -> list[Claim]:
        def top1(variant: str, lr: str) -> dict[int, float]:
            runs = tables["runs"]
            return by_seed(runs, "held_out_top1", scale=100, variant=variant, lr=lr)

        def lost(variant: str) -> dict[int, float]:
            """Accuracy that is lost from 1e-3 to 3e-3."""
            low, high = top1(variant, "0.001"), top1(variant, "0.003")
            return {seed: low[seed] - high[seed] for seed in low.keys() & high.keys()}

        return [
            *difference(
                "SPAM is worse at 3e-3 than at 1e-3", top1("SPAM", "0.001"), top1("SPAM", "0.003")
            ),
            *difference(
                "SPAM loses more at 3e-3 than attention does", lost("SPAM"), lost("attention")
            ),
            *difference("SPAM loses more at 3e-3 than SepConv does", lost("SPAM"), lost("sepconv")),
        ]

    def tables(self, tables: Tables) -> list[Table]:
        runs = tables["runs"]
        worst = _worst(tables)
        lines = []
        for variant in dict.fromkeys(run["variant"] for run in runs):
            cells = []
            for lr in RATES:
                top1 = by_seed(runs, "held_out_top1", scale=100, variant=variant, lr=lr)
                low = f"; {min(top1.values()):.1f}; {worst[variant, lr]:.1f}" if top1 else ""
                cells.append(mean_cell(top1, 1) + low if top1 else DASH)
            lines.append([variant, *cells])
        header = ["network", *(f"rate {lr}" for lr in RATES)]
        title = "Held-out top-1 %; the worst seed; the largest norm of a gradient"
        return [Table(title, header, lines)]

    def draw(self, tables: Tables) -> Figure | None:
        rows = tables.get("curves", [])
        variants = list(dict.fromkeys(row["variant"] for row in rows))
        if not variants:
            return None
        figure = new_figure(2.2 * len(variants) + 0.6, 2.8)
        panels = figure.subplots(1, len(variants), sharey=True, squeeze=False)[0]
        for axes, variant in zip(panels, variants, strict=True):
            for lr, colour in zip(RATES, ("C0", "black", "C1", "C3"), strict=True):
                chosen = [r for r in rows if (r["variant"], r["lr"]) == (variant, lr)]
                for seed in sorted({r["seed"] for r in chosen}):
                    own = [r for r in chosen if r["seed"] == seed]
                    axes.plot(
                        [r["update"] for r in own],
                        [min(r["loss"], 3.0) for r in own],
                        color=colour,
                        linewidth=1,
                        label=lr if seed == 0 else None,
                    )
            axes.set_title(variant, fontsize=8)
            axes.set_xlabel("update", fontsize=8)
            axes.tick_params(labelsize=7)
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("training loss, every seed", fontsize=8)
        panels[-1].legend(fontsize=7, frameon=False, title="rate", title_fontsize=7)
        return figure


def _worst(tables: Tables) -> dict[tuple[str, str], float]:
    """Largest norm of a gradient by variant and rate, over seeds and updates."""
    found: dict[tuple[str, str], float] = {}
    for row in tables.get("curves", []):
        key = (row["variant"], row["lr"])
        found[key] = float(np.maximum(found.get(key, 0.0), row["norm"]))
    return found
