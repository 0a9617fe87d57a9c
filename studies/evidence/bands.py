"""Where frequencies matter: a band removed in training, noise of one band added at the test.

Shape suffixes: B images, C channels, H and W in pixels. Frequencies are in radians per pixel.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from spanetv2.analysis.heat_map import fourier_image
from spanetv2.analysis.jacobian import jacobian_response
from spanetv2.analysis.mixers import find_mixers, record_calls
from spanetv2.drawing import new_figure
from spanetv2.table import Table
from spanetv2.theory.grid import frequencies
from spanetv2.theory.rings import ring_masks
from studies.evidence.compare import by_seed, mean_cell
from studies.evidence.images import Images
from studies.evidence.part import Claim, Condition, Context, Part, Tables
from studies.evidence.recipe import Recipe
from studies.evidence.scale import Scale
from studies.evidence.stack import Stack
from studies.evidence.store import Record
from studies.evidence.tuning import trained
from studies.mixers.rows import find_row

__all__ = ["REMOVED", "Bands", "rank_correlation", "ring_noise", "without_band"]

REMOVED = {
    "nothing": (np.inf, np.inf),
    "low": (1e-6, 0.3 * np.pi),
    "middle": (0.3 * np.pi, 0.6 * np.pi),
    "high": (0.6 * np.pi, np.inf),
}
"""Frequencies that are taken out: from (included) to (left in), the constant never. On the
smallest grid, 8 x 8, every band still has waves."""
NOISE = 0.5
"""Root mean square of the noise of one ring, in deviations of the images."""
WAVE = 0.5
"""The same of a wave of the heat map."""
_PROBES = 16


def without_band(images_BCHW: Tensor, removed: str) -> Tensor:
    """Images without the frequencies of a band.

    Example:
        >>> x = torch.rand(1, 1, 8, 8)
        >>> parts = [x - without_band(x, band) for band in ("low", "middle", "high")]
        >>> bool(torch.allclose(sum(parts), x - x.mean(), atol=1e-6))
        True
    """
    start, end = REMOVED[removed]
    radius = np.hypot(*frequencies(*images_BCHW.shape[2:]))
    out = (radius >= start - 1e-9) & (radius < end - 1e-9)  # rounding decides nothing
    kept = torch.from_numpy(~out)
    return torch.fft.ifft2(torch.fft.fft2(images_BCHW) * kept.to(images_BCHW.device)).real


def ring_noise(shape: Sequence[int], ring_HW: np.ndarray, generator: torch.Generator) -> Tensor:
    """White noise of the frequencies of a ring alone; root mean square 1 over all images."""
    white = torch.randn(*shape, generator=generator)
    noise = torch.fft.ifft2(torch.fft.fft2(white) * torch.from_numpy(ring_HW)).real
    return noise / noise.square().mean().sqrt()


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's; 0 where one of them is constant."""
    from scipy import stats

    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(np.corrcoef(stats.rankdata(first), stats.rankdata(second))[0, 1])


class Bands(Part):
    """Networks whose first stage sees every pixel as a token: its frequencies are the image's."""

    name = "bands"
    question = "Which frequencies do mixers need, and does their response predict it?"
    keys = ("removed", "row")

    def conditions(self, scale: Scale) -> list[Condition]:
        return [{"removed": removed, "row": row} for removed in REMOVED for row in scale.rows]

    def recipe(self, condition: Condition, context: Context) -> Recipe:
        return context.recipe(condition["row"])

    def make(self, condition: Condition, context: Context) -> Callable[[], nn.Module]:
        side = _whole(context).test_images.shape[-1]
        return context.network(condition["row"], context.scale.whole(side))

    def images(self, condition: Condition, context: Context) -> Images:
        whole = _whole(context)
        return replace(whole, train_images=without_band(whole.train_images, condition["removed"]))

    def run(
        self,
        condition: Condition,
        seeds: tuple[int, ...],
        context: Context,
        advance: Callable[[int], object],
    ) -> dict[str, list[Record]]:
        stack, images, _, runs, curve = trained(self, condition, seeds, context, advance)
        for removed in REMOVED:
            top1 = stack.accuracy(without_band(images.test_images, removed), images.test_labels)
            for run, value in zip(runs, top1, strict=True):
                run[f"top1_without_{removed}"] = value
        found = {"runs": runs, "curves": curve}
        if condition["removed"] == "nothing":
            tests = context.scale.tests
            test, labels = images.test_images[:tests], images.test_labels[:tests]
            found["noise"] = []
            for radius, noise in _ring_noises(test):
                for seed, top1 in zip(seeds, stack.accuracy(test + noise, labels), strict=True):
                    found["noise"].append(
                        {**condition, "seed": seed, "radius": radius, "top1": top1}
                    )
            found["waves"] = self._waves(condition, seeds, context, stack, test, labels)
        return found

    def _waves(
        self,
        condition: Condition,
        seeds: tuple[int, ...],
        context: Context,
        stack: Stack,
        test: Tensor,
        labels: Tensor,
    ) -> list[Record]:
        """Error under every wave, beside the first stage's gain at it."""
        gains = [_first_gain(network, test[:_PROBES]) for network in stack.networks()]
        height, width = test.shape[2:]
        rows: list[Record] = []
        for i, j in _half_plane(height, width):
            wave = fourier_image((height, width), i, j).float() * (height * width) ** 0.5
            sign = torch.randint(
                0, 2, (len(test), 1, 1, 1), generator=torch.Generator().manual_seed(0)
            )
            added = (WAVE * (2 * sign - 1) * wave).to(test)
            accuracy = stack.accuracy(test + added, labels)
            for seed, gain_HW, top1 in zip(seeds, gains, accuracy, strict=True):
                place = {"i": i, "j": j, "gain": float(gain_HW[i, j]), "error": 1 - top1}
                rows.append({**condition, "seed": seed, **place})
        return rows

    def claims(self, tables: Tables) -> list[Claim]:
        found = [
            Claim(
                text=f"The first stage's response predicts where {find_row(row).title} errs",
                differences=_correlations(tables, row),
                unit="rank correlation",
            )
            for row in _rows(tables)
            if _correlations(tables, row)
        ]
        runs = tables["runs"]

        def drop(row: str, band: str) -> dict[int, float]:
            """Accuracy lost at the test without a band, by networks that learned with all."""
            chosen = {"row": row, "removed": "nothing"}
            whole = by_seed(runs, "top1_without_nothing", scale=100, **chosen)
            left = by_seed(runs, f"top1_without_{band}", scale=100, **chosen)
            return {seed: whole[seed] - left[seed] for seed in whole.keys() & left.keys()}

        for more, less, band in (("spam", "attention", "high"), ("attention", "spam", "low")):
            first, second = drop(more, band), drop(less, band)
            pairs = {seed: first[seed] - second[seed] for seed in first.keys() & second.keys()}
            if pairs:
                name = {"spam": "SPAM", "attention": "self-attention"}
                text = f"{name[more]} needs {band} frequencies more than {name[less]} does"
                found.append(Claim(text=text, differences=pairs))
        return found

    def tables(self, tables: Tables) -> list[Table]:
        runs = tables["runs"]
        lines = []
        for row in _rows(tables):
            for removed in REMOVED:
                chosen = {"row": row, "removed": removed}
                cells = [
                    mean_cell(by_seed(runs, f"top1_without_{band}", scale=100, **chosen), 1)
                    for band in REMOVED
                ]
                count = sum(run["row"] == row and run["removed"] == removed for run in runs)
                if count:
                    lines.append([find_row(row).title, removed, str(count), *cells])
        header = ["mixer", "not in training", "seeds", *(f"test without {b}" for b in REMOVED)]
        made = [Table("Top-1 % with a band removed", header, lines, text_columns=2)]
        noise = tables.get("noise", [])
        if noise:
            radii = sorted({row["radius"] for row in noise})
            lines = []
            for row in _rows(tables):
                cells = [
                    mean_cell(by_seed(noise, "top1", scale=100, row=row, radius=radius), 1)
                    for radius in radii
                ]
                correlation = _correlations(tables, row)
                lines.append([find_row(row).title, *cells, mean_cell(correlation)])
            header = ["mixer", *(f"{radius:.2f}" for radius in radii), "rank correlation"]
            title = f"Top-1 % under noise of one ring (rad / pixel; rms {NOISE} deviations)"
            made.append(Table(title, header, lines))
        return made

    def draw(self, tables: Tables) -> Figure | None:
        waves = tables.get("waves", [])
        names = [row for row in _rows(tables) if any(wave["row"] == row for wave in waves)]
        if not names:
            return None
        figure = new_figure(2.0 * len(names) + 0.8, 4.2)
        panels = figure.subplots(2, len(names), squeeze=False)
        for column, row in enumerate(names):
            for line, (quantity, label) in enumerate(
                (("error", "error under a wave"), ("gain", "gain of stage 1"))
            ):
                chosen = [wave for wave in waves if wave["row"] == row]
                side = max(wave["i"] for wave in chosen)
                plane = np.full((2 * side + 1, 2 * side + 1), np.nan)
                for i, j in {(wave["i"], wave["j"]) for wave in chosen}:
                    value = np.mean([w[quantity] for w in chosen if (w["i"], w["j"]) == (i, j)])
                    plane[side + i, side + j] = plane[side - i, side - j] = value
                axes = panels[line, column]
                axes.imshow(plane, extent=(-np.pi, np.pi, np.pi, -np.pi), cmap="magma")
                axes.tick_params(labelsize=6)
                if line == 0:
                    axes.set_title(find_row(row).title, fontsize=8)
                if column == 0:
                    axes.set_ylabel(label, fontsize=8)
        return figure


def _whole(context: Context) -> Images:
    """The data set with a pixel per token: halved where it is larger than 16 pixels a side, so that
    the first stage stays small, but on a GPU."""
    images = context.load(context.scale.data)
    large = images.test_images.shape[-1] > 16 and context.scale.name != "gpu"
    return images.halved() if large else images


def _ring_noises(test_BCHW: Tensor) -> list[tuple[float, Tensor]]:
    """Noise of every ring of frequencies but the constant, and the ring's mean radius."""
    radius, rings = ring_masks(*test_BCHW.shape[2:])
    generator = torch.Generator().manual_seed(0)
    return [
        (
            float(radius[ring].mean()),
            NOISE * ring_noise(test_BCHW.shape, ring, generator).to(test_BCHW),
        )
        for ring in rings[1:]
    ]


def _half_plane(height: int, width: int) -> list[tuple[int, int]]:
    """One of every pair of opposite waves below the highest frequency of either side."""
    down, right = (height - 1) // 2, (width - 1) // 2
    return [(i, j) for i in range(down + 1) for j in range(-right, right + 1) if i > 0 or j > 0]


def _first_gain(network: nn.Module, images_BCHW: Tensor) -> np.ndarray:
    """Root mean square gain of the first stage's mixers at every frequency of the images."""
    mixers = [m for m in find_mixers(network) if "stages.0" in m.name and "token_mixer" in m.name]
    calls, gaps = record_calls(network, mixers, images_BCHW)
    assert not gaps
    gain2 = [jacobian_response(call, images=len(images_BCHW)).gain2 for call in calls]
    return np.sqrt(np.mean(gain2, axis=0))


def _rows(tables: Tables) -> list[str]:
    return list(dict.fromkeys(run["row"] for run in tables["runs"]))


def _correlations(tables: Tables, row: str) -> dict[int, float]:
    """Rank correlation over the waves of the first stage's gain and the error, by seed."""
    by: dict[int, list[Record]] = {}
    for wave in tables.get("waves", []):
        if wave["row"] == row:
            by.setdefault(wave["seed"], []).append(wave)
    return {
        seed: rank_correlation([w["gain"] for w in waves], [w["error"] for w in waves])
        for seed, waves in by.items()
    }
