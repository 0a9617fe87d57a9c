"""Learning rate and weight decay of every row, on a held-out tenth of the training images."""

from collections.abc import Callable
from typing import Any

from torch import nn

from spanetv2.page import DASH
from spanetv2.table import Table
from studies.evidence.images import Images
from studies.evidence.part import Claim, Condition, Context, Part, Tables
from studies.evidence.recipe import Recipe
from studies.evidence.scale import Scale
from studies.evidence.store import Record
from studies.evidence.train import train
from studies.mixers.rows import find_row

__all__ = ["Tuning", "chosen_rates", "trained"]


def trained(
    part: Part,
    condition: Condition,
    seeds: tuple[int, ...],
    context: Context,
    advance: Callable[[int], object],
    **options: Any,
) -> tuple[Any, Images, Recipe, list[Record], list[Record]]:
    """Train a condition's networks: the stack, its images, its recipe, a row per run, the curve.

    Args:
        part: whose.
        condition: which of its conditions.
        seeds: of the networks.
        context: where and how.
        advance: called with numbers of updates.
        **options: of ``train``; ``watch`` may be a function of the stack and the images.
    """
    recipe = part.recipe(condition, context)
    images = part.images(condition, context).to(context.device)
    stack = context.stack(part.make(condition, context), seeds)
    if (watch := options.pop("watch", None)) is not None:
        options["watch"] = watch(stack, images)
    every = max(1, recipe.updates // context.scale.points)
    curve = train(stack, images, recipe, every=every, advance=advance, **options)
    last = {point["seed"]: point for point in curve}
    runs = [
        {**condition, "seed": seed, **recipe.facts(), "loss": last[seed]["loss"]} for seed in seeds
    ]
    return stack, images, recipe, runs, [{**condition, **point} for point in curve]


class Tuning(Part):
    """Which rate and decay suit a row, with one seed, before the test images are seen."""

    name = "tuning"
    question = "Which learning rate and weight decay suit each mixer?"
    keys = ("row", "lr", "weight_decay")

    def conditions(self, scale: Scale) -> list[Condition]:
        return [
            {"row": row, "lr": str(lr), "weight_decay": str(decay)}
            for decay in scale.decays
            for lr in scale.rates
            for row in scale.rows
        ]

    def seeds(self, scale: Scale) -> tuple[int, ...]:
        return scale.seeds[:1]

    def recipe(self, condition: Condition, context: Context) -> Recipe:
        lr, decay = float(condition["lr"]), float(condition["weight_decay"])
        return context.recipe(condition["row"], lr=lr, weight_decay=decay)

    def make(self, condition: Condition, context: Context) -> Callable[[], nn.Module]:
        return context.network(condition["row"], context.scale.skeleton)

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
        return []

    def tables(self, tables: Tables) -> list[Table]:
        runs = tables["runs"]
        settings = list(dict.fromkeys((run["lr"], run["weight_decay"]) for run in runs))
        header = ["mixer", *(f"rate {lr}, decay {decay}" for lr, decay in settings), "chosen"]
        best = chosen_rates(tables)
        lines = []
        for row in dict.fromkeys(run["row"] for run in runs):
            found = {
                (run["lr"], run["weight_decay"]): f"{100 * run['held_out_top1']:.2f}"
                for run in runs
                if run["row"] == row
            }
            lr, decay = best[row]
            cells = [found.get(setting, DASH) for setting in settings]
            lines.append([find_row(row).title, *cells, f"{lr:g}, {decay:g}"])
        return [Table("Top-1 % on the held-out tenth, one seed", header, lines)]


def chosen_rates(tables: Tables) -> dict[str, tuple[float, float]]:
    """The rate and the decay of the highest held-out accuracy, by row; of equals the lower rate."""
    best: dict[str, Record] = {}
    for run in sorted(tables["runs"], key=lambda run: float(run["lr"])):
        known = best.get(run["row"])
        if known is None or run["held_out_top1"] > known["held_out_top1"]:
            best[run["row"]] = run
    return {row: (float(run["lr"]), float(run["weight_decay"])) for row, run in best.items()}
