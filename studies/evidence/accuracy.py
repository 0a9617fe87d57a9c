"""Which mixer is more accurate, each with the rate that suits it."""

from collections.abc import Callable

from matplotlib.figure import Figure
from torch import nn

from spanetv2.drawing import GREY, new_figure
from spanetv2.page import DASH
from spanetv2.table import Table
from studies.evidence.compare import by_seed, difference, mean_cell, paired_cell
from studies.evidence.images import Images
from studies.evidence.part import Claim, Condition, Context, Part, Tables
from studies.evidence.recipe import Recipe
from studies.evidence.scale import Scale
from studies.evidence.store import Record
from studies.evidence.tuning import trained
from studies.mixers.rows import REFERENCE, find_row
from studies.mixers.statistics import estimate

__all__ = ["Accuracy"]

_CLAIMS = {
    "spam_no_srf": "The spectral filter raises accuracy",
    "spam_9": "Kernels of 3 to 9 are better than 9x9 alone",
    "spam_3": "Kernels of 3 to 9 are better than 3x3 alone",
    "sepconv": "SPAM is better than separable convolution",
    "attention": "SPAM is better than self-attention",
}


class Accuracy(Part):
    """The test images, once, of networks that differ in the mixer alone."""

    name = "accuracy"
    question = "Which mixer is more accurate, each at its own learning rate?"
    keys = ("row",)

    def conditions(self, scale: Scale) -> list[Condition]:
        return [{"row": row} for row in scale.rows]

    def recipe(self, condition: Condition, context: Context) -> Recipe:
        return context.recipe(condition["row"])

    def make(self, condition: Condition, context: Context) -> Callable[[], nn.Module]:
        return context.network(condition["row"], context.scale.skeleton)

    def images(self, condition: Condition, context: Context) -> Images:
        return context.load(context.scale.data)

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
            run["top1"] = top1
        return {"runs": runs, "curves": curve}

    def claims(self, tables: Tables) -> list[Claim]:
        def top1(row: str) -> dict[int, float]:
            return by_seed(tables["runs"], "top1", scale=100, row=row)

        return [
            claim
            for row, text in _CLAIMS.items()
            for claim in difference(text, top1(REFERENCE), top1(row))
        ]

    def tables(self, tables: Tables) -> list[Table]:
        runs = tables["runs"]
        reference = by_seed(runs, "top1", scale=100, row=REFERENCE)
        lines = []
        for row in dict.fromkeys(run["row"] for run in runs):
            values = by_seed(runs, "top1", scale=100, row=row)
            rates = sorted({f"{run['lr']:g}" for run in runs if run["row"] == row})
            pair = DASH if row == REFERENCE else paired_cell(values, reference)
            lines.append(
                [find_row(row).title, ", ".join(rates), str(len(values)), mean_cell(values), pair]
            )
        header = ["mixer", "rate", "seeds", "top-1 %", "minus SPAM, paired"]
        return [Table("Accuracy", header, lines)]

    def draw(self, tables: Tables) -> Figure | None:
        runs = tables["runs"]
        rows = list(dict.fromkeys(run["row"] for run in runs))
        figure = new_figure(5.5, 0.35 * len(rows) + 0.9)
        axes = figure.subplots()
        for place, row in enumerate(rows):
            values = by_seed(runs, "top1", scale=100, row=row)
            found = estimate(list(values.values()))
            axes.plot(list(values.values()), [place + 0.15] * len(values), "o", color=GREY, ms=3)
            if found.count > 1:
                half = found.high - found.mean
                axes.errorbar(found.mean, place, xerr=half, fmt="s", color="black", capsize=3)
        axes.set_yticks(range(len(rows)), [find_row(row).title for row in rows])
        axes.invert_yaxis()
        axes.set_xlabel("top-1 %: every seed, mean and 95 % interval")
        axes.grid(axis="x", alpha=0.3)
        return figure
