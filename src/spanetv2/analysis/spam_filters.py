"""A picture of what SPAM's spectral filters learned.

Frequencies are in radians per token, 0 in the middle, from -pi to pi on both axes.
Shapes: C channels, H x W the stage's grid of tokens, K = W // 2 + 1 half-spectrum columns.
"""

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from spanetv2.drawing import COLOURS, GREY, LINES, new_figure, save_figure
from spanetv2.errors import UserError
from spanetv2.mixers import SPAM, SpectralRescale
from spanetv2.theory.grid import Grid
from spanetv2.theory.rings import ring_masks
from spanetv2.theory.spam import srf_gain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = ["full_spectrum", "radial_profile", "spectral_filters"]

START = 0.5  # the gain of a filter that has learned nothing: sigmoid(0)


def full_spectrum(gain: np.ndarray, width: int) -> np.ndarray:
    """Unfold gains over rfft2's half spectrum into the symmetric spectrum that really acts.

    See ``spanetv2.theory.spam.srf_gain``, which this applies to every filter.

    Args:
        gain: (..., H, K) with K = width // 2 + 1, as ``rfft2`` orders it.
        width: number of columns W of the grid.

    Returns:
        (..., H, W), shifted so that frequency 0 is at index (H // 2, W // 2).

    Raises:
        ValueError: K does not belong to ``width``.
    """
    height, half = gain.shape[-2:]
    if half != width // 2 + 1:
        raise ValueError(f"got {half} half-spectrum columns, expected {width // 2 + 1} for {width}")
    grid = Grid(height, width)
    full = [srf_gain(gain_HK, grid) for gain_HK in gain.reshape(-1, height, half)]
    full = np.reshape(full, (*gain.shape[:-1], width)).astype(gain.dtype)
    return np.fft.fftshift(full, axes=(-2, -1))


def radial_profile(spectrum: np.ndarray, *, bins: int | None = None) -> tuple[np.ndarray, ...]:
    """Average a shifted spectrum over rings of equal distance from frequency 0.

    Args:
        spectrum: (H, W), frequency 0 in the middle as :func:`full_spectrum` gives it.
        bins: number of rings up to pi; by default half the shorter side, at least 2. The constant
            is a ring of its own, as in :func:`spanetv2.theory.rings.radial_profile`.

    Returns:
        Mean radius of each ring in radians per token, and its mean gain. Corners beyond pi, which
        only diagonal waves reach, and empty rings are left out.
    """
    height, width = spectrum.shape
    radius, masks = ring_masks(height, width, bins=bins or max(2, min(height, width) // 2))
    radius, rings = np.fft.fftshift(radius), [np.fft.fftshift(mask) for mask in masks]
    return (
        np.array([radius[mask].mean() for mask in rings]),
        np.array([spectrum[mask].mean() for mask in rings]),
    )


def spectral_filters(
    model: nn.Module, out_png: str | os.PathLike[str], *, channels: int = 3
) -> None:
    """Draw the gain of the spectral filters of every stage that has them.

    One row per stage: the mean gain of each of the four heads over its channels and over the
    stage's blocks, the single channels that depart most from a flat filter, and the gain against
    the radial frequency. A model that has learned nothing shows 0.5 everywhere.

    Args:
        model: a model with SPAM mixers.
        out_png: the picture to write.
        channels: how many single channels to draw per stage.

    Raises:
        UserError: the model has no SPAM mixer.
    """
    stages = _collect(model)
    if not stages:
        raise UserError(
            f"got a {type(model).__name__} without a SPAM mixer whose filter can be drawn, "
            "expected a SPANetV2 model (an optimised copy has folded filters: draw the original)"
        )
    heads = len(stages[0].kernels)
    columns = heads + channels + 1
    figure = new_figure(1.4 * columns + 1.8, 1.75 * len(stages) + 0.8)
    grid = figure.add_gridspec(
        len(stages), columns, width_ratios=[1.0] * (heads + channels) + [1.5]
    )
    mean_span = max(np.abs(stage.heads - START).max() for stage in stages)
    single_span = max(np.abs(stage.gains - START).max() for stage in stages)
    for row, stage in enumerate(stages):
        means: list[Axes] = []
        singles: list[Axes] = []
        image = None
        for column in range(heads + channels):
            axes = figure.add_subplot(grid[row, column])
            if column < heads:
                image = _draw_map(axes, stage.heads[column], span=mean_span)
                title = f"head {column + 1}, {stage.kernels[column]}x{stage.kernels[column]}"
                means.append(axes)
            else:
                block, channel = stage.liveliest[column - heads]
                image = _draw_map(axes, stage.gains[block, channel], span=single_span)
                title = f"block {block + 1}, channel {channel}"
                singles.append(axes)
            axes.set_title(title, fontsize=8)
            if column == 0:
                blocks, _, height, width = stage.gains.shape
                axes.set_ylabel(
                    f"stage {stage.number}: {height}x{width},\n{blocks} block{'s' * (blocks > 1)}"
                    "\nrad / token",
                    fontsize=8,
                )
            else:
                axes.tick_params(labelleft=False)
            if row == len(stages) - 1:
                axes.set_xlabel("rad / token", fontsize=8)
            if image is not None and column == heads - 1:
                _colourbar(figure, image, means)
            if image is not None and column == heads + channels - 1 and singles:
                _colourbar(figure, image, singles)
        axes = figure.add_subplot(grid[row, -1])
        _draw_profiles(axes, stage, span=mean_span, last=row == len(stages) - 1)
    figure.suptitle(
        "Gain of the learned spectral filters over frequency: the mean of each head, "
        f"single channels, and radial means ({START} = untrained)",
        fontsize=10,
    )
    save_figure(figure, out_png)


@dataclass(frozen=True, kw_only=True)
class _Stage:
    number: int
    gains: np.ndarray  # (blocks, C, H, W), shifted
    kernels: list[int]

    @property
    def heads(self) -> np.ndarray:
        """Mean gain per head, (heads, H, W): heads are contiguous groups of channels."""
        blocks, channels, height, width = self.gains.shape
        count = len(self.kernels)
        split = self.gains.reshape(blocks, count, channels // count, height, width)
        return split.mean(axis=(0, 2))

    @property
    def liveliest(self) -> list[tuple[int, int]]:
        """(block, channel) pairs whose gain varies most over the spectrum, the first one first."""
        spread = self.gains.std(axis=(-2, -1))
        order = np.argsort(spread, axis=None)[::-1]
        pairs = zip(*np.unravel_index(order, spread.shape), strict=True)
        return [(int(block), int(channel)) for block, channel in pairs]


def _collect(model: nn.Module) -> list[_Stage]:
    """Gather the gains of all SPAM mixers, one entry per stage, from fine to coarse."""
    filters: dict[str, list[SpectralRescale]] = {}
    kernels: dict[str, list[int]] = {}
    for name, module in model.named_modules():
        if isinstance(module, SPAM) and module.spectral_filter is not None:
            stage = re.search(r"stages[._](\d+)", name)
            number = stage.group(1) if stage else "0"
            filters.setdefault(number, []).append(module.spectral_filter)
            kernels.setdefault(number, module.kernels)
    stages = []
    for number, group in filters.items():
        height, width = group[0].grid
        with torch.no_grad():
            gains = [one.gain(height, width).float().cpu().numpy() for one in group]
        stages.append(
            _Stage(
                number=int(number) + 1,
                gains=full_spectrum(np.stack(gains), width),
                kernels=kernels[number],
            )
        )
    return stages


def _draw_map(axes: "Axes", spectrum: np.ndarray, *, span: float) -> "AxesImage":
    """Draw one spectrum; purple is damped more, and orange less, than by an untrained filter."""
    height, width = spectrum.shape
    # An even grid has -pi but not pi, the same wave: drawn on both sides, the map is symmetric.
    spectrum = np.pad(spectrum, [(0, 1 - height % 2), (0, 1 - width % 2)], mode="wrap")
    edge_y = np.pi / height * spectrum.shape[0]
    edge_x = np.pi / width * spectrum.shape[1]
    span = max(span, 1e-3)
    image = axes.imshow(
        spectrum,
        cmap="PuOr_r",
        vmin=START - span,
        vmax=START + span,
        origin="lower",
        aspect="auto",
        extent=(-edge_x, edge_x, -edge_y, edge_y),
    )
    axes.set_box_aspect(1)
    axes.set_xticks([-np.pi, 0, np.pi], ["-π", "0", "π"], fontsize=7)
    axes.set_yticks([-np.pi, 0, np.pi], ["-π", "0", "π"], fontsize=7)
    return image


def _colourbar(figure: "Figure", image: "AxesImage", axes: "list[Axes]") -> None:
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, aspect=14)
    bar.ax.tick_params(labelsize=7)
    bar.set_label("gain", fontsize=8)


def _draw_profiles(axes: "Axes", stage: _Stage, *, span: float, last: bool) -> None:
    axes.axhline(START, color=GREY, linewidth=0.7)
    for spectrum, kernel, colour, style in zip(
        stage.heads, stage.kernels, COLOURS, LINES, strict=False
    ):
        radius, gain = radial_profile(spectrum)
        marker = "o" if len(radius) < 4 else None
        axes.plot(
            radius,
            gain,
            color=colour,
            linestyle=style,
            marker=marker,
            markersize=3,
            label=f"{kernel}x{kernel}",
        )
    axes.set_xlim(0, np.pi)
    axes.set_ylim(START - 1.1 * max(span, 1e-3), START + 1.1 * max(span, 1e-3))
    axes.set_xticks([0, np.pi / 2, np.pi], ["0", "π/2", "π"], fontsize=7)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_title("mean gain by radius", fontsize=8)
    axes.legend(fontsize=7, frameon=False, ncols=2)
    axes.grid(alpha=0.3)
    if last:
        axes.set_xlabel("radial frequency, rad / token", fontsize=8)
