"""Shape against texture: which cue a trained mixer goes by, when both would do."""

import itertools
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from matplotlib.figure import Figure
from torch import nn
from torch.optim import Optimizer

from spanetv2.drawing import GREY, new_figure
from spanetv2.table import Table
from studies.evidence.compare import by_seed, difference, mean_cell
from studies.evidence.images import Images, load
from studies.evidence.part import Claim, Condition, Context, Part, Tables
from studies.evidence.recipe import Recipe
from studies.evidence.scale import Scale
from studies.evidence.stack import Stack
from studies.evidence.store import Record
from studies.evidence.textures import BANDS, Cues, cue_images
from studies.evidence.tuning import trained
from studies.mixers.rows import REFERENCE, find_row

__all__ = ["LEVELS", "Cue", "bias_at"]

ROWS = ("spam_3", "spam_9", "attention", REFERENCE, "spam_5", "spam_7")
KERNELS = {3: "spam_3", 5: "spam_5", 7: "spam_7", 9: "spam_9"}
LEVELS = (0.7, 0.9)
"""Accuracies on images whose cues agree, at which mixers are compared."""


def _cues(context: Context, shapes: str, band: str) -> Cues:
    return _drawn(context.scale, context.root, shapes, band)


@cache
def _drawn(scale: Scale, root: str | None, shapes: str, band: str) -> Cues:
    return cue_images(
        load(shapes, root=root),
        band,
        side=scale.shape_side,
        train=scale.textured,
        tests=scale.tests,
    )


class Cue(Part):
    """Training on images whose shape and texture agree, a test on images where they do not."""

    name = "cues"
    question = "Do larger kernels and attention go by shape, smaller kernels by texture?"
    keys = ("shapes", "band", "row")

    def conditions(self, scale: Scale) -> list[Condition]:
        return [
            {"shapes": shapes, "band": band, "row": row}
            for shapes in scale.shapes
            for band in BANDS
            for row in ROWS
        ]

    def recipe(self, condition: Condition, context: Context) -> Recipe:
        return context.recipe(condition["row"], shift=0, flip=False)

    def make(self, condition: Condition, context: Context) -> Callable[[], nn.Module]:
        return context.network(condition["row"], context.scale.whole(context.scale.shape_side))

    def images(self, condition: Condition, context: Context) -> Images:
        return _cues(context, condition["shapes"], condition["band"]).images

    def run(
        self,
        condition: Condition,
        seeds: tuple[int, ...],
        context: Context,
        advance: Callable[[int], object],
    ) -> dict[str, list[Record]]:
        cues = _cues(context, condition["shapes"], condition["band"])
        conflict = cues.conflict_images.to(context.device)
        shape, texture = (x.to(context.device) for x in (cues.shape_labels, cues.texture_labels))
        points: list[Record] = []

        def watch(stack: Stack, images: Images) -> Callable[[int, list[Optimizer]], None]:
            def look(update: int, _: list[Optimizer]) -> None:
                if update == 0:
                    return
                answers_SB = stack.logits(conflict).argmax(-1)
                accuracy = stack.accuracy(images.test_images, images.test_labels)
                for seed, answers, top1 in zip(stack.seeds, answers_SB, accuracy, strict=True):
                    points.append(
                        {
                            **condition,
                            "seed": seed,
                            "update": update,
                            "top1": top1,
                            "shape": int((answers == shape).sum()),
                            "texture": int((answers == texture).sum()),
                        }
                    )

            return look

        _, _, _, runs, curve = trained(self, condition, seeds, context, advance, watch=watch)
        for run in runs:
            own = [point for point in points if point["seed"] == run["seed"]]
            run |= {"top1": own[-1]["top1"], "bias": _bias(own[-1])}
            for level in LEVELS:
                run[f"bias_at_{100 * level:.0f}"] = bias_at(own, level)
        return {"runs": runs, "points": points, "curves": curve}

    def claims(self, tables: Tables) -> list[Claim]:
        found: list[Claim] = []
        when = {
            f"bias_at_{100 * LEVELS[-1]:.0f}": f"at {100 * LEVELS[-1]:.0f} %",
            "bias": "at the end",
        }
        for shapes, band in _settings(tables["runs"]):
            for column, at in when.items():
                where = f"{band}-frequency textures on {shapes}, {at}"

                def bias(
                    row: str, s: str = shapes, b: str = band, c: str = column
                ) -> dict[int, float]:
                    return by_seed(tables["runs"], c, scale=100, row=row, shapes=s, band=b)

                small = bias("spam_3")
                for row, name in (("spam_9", "9x9"), ("attention", "Attention")):
                    text = f"{name} goes more by shape than 3x3, {where}"
                    found += difference(text, bias(row), small)
                slopes = _slopes({side: bias(row) for side, row in KERNELS.items()})
                if slopes:
                    text = f"Shape bias grows with the kernel's side, {where}"
                    found.append(Claim(text=text, differences=slopes, unit="points per doubling"))
        return found

    def tables(self, tables: Tables) -> list[Table]:
        made = []
        for shapes, band in _settings(tables["runs"]):
            lines = []
            for row in ("spam_3", "spam_5", "spam_7", "spam_9", REFERENCE, "attention"):
                chosen = {"row": row, "shapes": shapes, "band": band}
                columns = [*(f"bias_at_{100 * level:.0f}" for level in LEVELS), "bias", "top1"]
                values = [
                    by_seed(tables["runs"], column, scale=100, **chosen) for column in columns
                ]
                if values[-1]:
                    cells = [mean_cell(one, 1) for one in values]
                    lines.append([find_row(row).title, str(len(values[-1])), *cells])
            levels = [f"shape bias at {100 * level:.0f} %" for level in LEVELS]
            header = ["mixer", "seeds", *levels, "at the end", "top-1 % at the end"]
            made.append(Table(f"{shapes}, {band}-frequency textures", header, lines))
        return made

    def draw(self, tables: Tables) -> Figure | None:
        settings = _settings(tables["runs"])
        if not settings:
            return None
        figure = new_figure(2.7 * len(settings) + 0.6, 3.0)
        panels = figure.subplots(1, len(settings), sharey=True, squeeze=False)[0]
        for axes, (shapes, band) in zip(panels, settings, strict=True):
            for level, marker in zip(LEVELS, "os", strict=True):
                column = f"bias_at_{100 * level:.0f}"
                for place, row in enumerate((*KERNELS.values(), REFERENCE, "attention")):
                    values = list(
                        by_seed(
                            tables["runs"], column, scale=100, row=row, shapes=shapes, band=band
                        ).values()
                    )
                    if values:
                        shift = place + (0.15 if marker == "s" else -0.15)
                        axes.plot([shift] * len(values), values, marker, color=GREY, markersize=3)
                        label = f"at {100 * level:.0f} % accuracy" if place == 0 else None
                        axes.plot(
                            shift,
                            np.mean(values),
                            marker,
                            color="black",
                            markersize=6,
                            fillstyle="full" if marker == "s" else "none",
                            label=label,
                        )
            axes.set_xticks(range(6), ["3x3", "5x5", "7x7", "9x9", "SPAM", "attention"])
            axes.tick_params(labelsize=7)
            axes.set_title(f"{shapes}, {band}", fontsize=9)
            axes.grid(alpha=0.3)
        panels[0].set_ylabel("shape bias, %", fontsize=8)
        if panels[0].get_legend_handles_labels()[0]:
            panels[0].legend(fontsize=7, frameon=False)
        return figure


def _settings(runs: Sequence[Record]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((run["shapes"], run["band"]) for run in runs))


def _bias(point: Record) -> float | None:
    """Shape decisions over those that fit either cue."""
    fit = point["shape"] + point["texture"]
    return point["shape"] / fit if fit else None


def bias_at(points: Sequence[Record], level: float) -> float | None:
    """Shape bias where accuracy first reaches a level, between the points around it.

    Args:
        points: of one run, in order: top1, shape, texture.
        level: accuracy.

    Returns:
        The bias; None if the level is never reached, or is passed before the first point.

    Example:
        >>> early = {"top1": 0.5, "shape": 10, "texture": 90}
        >>> late = {"top1": 0.9, "shape": 30, "texture": 70}
        >>> round(bias_at([early, late], 0.7), 2), bias_at([early, late], 0.95)
        (0.2, None)
    """
    for before, after in itertools.pairwise(points):
        if before["top1"] < level <= after["top1"]:
            first, second = _bias(before), _bias(after)
            if first is None or second is None:
                return second
            share = (level - before["top1"]) / (after["top1"] - before["top1"])
            return first + share * (second - first)
    return None


def _slopes(bias: dict[int, dict[int, float]]) -> dict[int, float]:
    """Least-squares slope of the bias over log2 of the kernel's side, by seed with all sides."""
    seeds = set.intersection(*(set(values) for values in bias.values()))
    sides = np.log2(list(bias))
    return {
        seed: float(np.polyfit(sides, [values[seed] for values in bias.values()], 1)[0])
        for seed in sorted(seeds)
    }
