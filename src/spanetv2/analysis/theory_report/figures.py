"""The study's figures. Each function draws one; FIGURES says which there are, and explains them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spanetv2.analysis.theory_report.curves import (
    NORMAL,
    SMALL,
    STYLES,
    draw_curves,
    frequency_axis,
    label_panel,
    window_name,
)
from spanetv2.drawing import GREY, new_figure, shared_legend
from spanetv2.theory import laws
from spanetv2.theory.study import Curve, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "StudyFigure"]

_KEY = "markers: simulation; lines: law; bands: 10 to 90 % of single draws"


@dataclass(frozen=True, kw_only=True)
class StudyFigure:
    """A figure of the report: its file name, heading and explanation."""

    name: str
    heading: str
    text: str
    draw: Callable[[Study], "Figure"]


def responses(study: Study) -> "Figure":
    """Gain of convolution and attention, and the mean gain against the window."""
    figure = new_figure(7.2, 4.6)
    panels = figure.subplots(2, 3).ravel()
    shown = {
        "signed convolution": study.signed,
        "softmaxed convolution": study.softmaxed,
        "window graph": study.windows,
        "attention, logits 1/3": study.attention_default,
        "attention, logits 1": study.attention_sharp,
    }
    for axes, letter, (title, curves) in zip(panels, "abcde", shown.items(), strict=False):
        draw_curves(axes, curves)
        label_panel(axes, letter, title)
        axes.set_ylim(0, 1.05)
        axes.set_ylabel("gain", fontsize=NORMAL)
    axes = panels[5]
    positions = [*study.settings.windows, None]
    for number, (title, curves) in enumerate(shown.items()):
        colour, line, marker = STYLES[number % len(STYLES)]
        where = [positions.index(curve.window) for curve in curves]
        axes.plot(
            where,
            [curve.scalars["rms_gain"] for curve in curves],
            color=colour,
            linestyle=line,
            linewidth=1.1,
            marker=marker,
            markersize=3.5,
            label=title,
        )
    axes.set_xticks(range(len(positions)), [window_name(k) for k in positions])
    axes.set_ylim(0, 1.05)
    axes.tick_params(labelsize=SMALL)
    axes.set_ylabel("rms gain off the constant", fontsize=NORMAL)
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.legend(fontsize=6, frameon=False, loc="upper right", labelspacing=0.25)
    label_panel(axes, "f", "against the window")
    shared_legend(figure, panels[:5], title=_KEY, size=SMALL)
    return figure


def connectivity(study: Study) -> "Figure":
    """The connectivity sweep, scaling with the number of tokens, and correlated tokens."""
    figure = new_figure(7.2, 2.9)
    sweep, scaling, tokens = figure.subplots(1, 3)
    count = study.settings.grid**2
    kinds = {}
    for point in study.connectivity:
        kinds.setdefault((point.mixer, point.boundary), []).append(point)
    for number, ((mixer, boundary), points) in enumerate(kinds.items()):
        colour, _, marker = STYLES[number % len(STYLES)]
        sweep.plot(
            [point.m_eff for point in points],
            [point.rms_gain for point in points],
            linestyle="none",
            color=colour,
            marker=marker,
            markersize=3,
            markerfacecolor="none",
            markeredgewidth=0.7,
            label=mixer + (", free boundary" if boundary == "free" else ""),
        )
    m_eff = np.geomspace(1, count * 0.999, 400)
    sweep.plot(m_eff, np.sqrt(laws.mean_power_without_dc(m_eff, count)), color=GREY, linewidth=0.9)
    sweep.set_xscale("log")
    sweep.set_yscale("log")
    lowest = min(point.rms_gain for point in study.connectivity)
    sweep.set_ylim(lowest / 2, 1.3)
    sweep.set_xlabel("effective connectivity M_eff, tokens", fontsize=NORMAL)
    sweep.set_ylabel("rms gain off the constant", fontsize=NORMAL)
    sweep.legend(fontsize=5.5, frameon=False, loc="lower left", handletextpad=0.2)
    label_panel(sweep, "a", "every map is on the law")

    sizes = np.array([point.n**2 for point in study.scaling])
    for values, law, name, (colour, line, marker) in (
        ([p.gain for p in study.scaling], [p.gain_law for p in study.scaling], "gain", STYLES[0]),
        (
            [p.profile for p in study.scaling],
            study.scaling[0].profile * sizes[0] / sizes,
            "|profile|",
            STYLES[1],
        ),
    ):
        scaling.plot(sizes, law, color=colour, linestyle=line, linewidth=1.1)
        scaling.plot(
            sizes,
            values,
            color=colour,
            linestyle="none",
            marker=marker,
            markersize=3.5,
            label=name,
        )
    scaling.set_xscale("log")
    scaling.set_yscale("log")
    scaling.set_xticks(sizes, [str(size) for size in sizes])
    scaling.minorticks_off()
    scaling.set_xlabel("tokens N", fontsize=NORMAL)
    scaling.set_ylabel("mean off the constant", fontsize=NORMAL)
    scaling.legend(fontsize=SMALL, frameon=False)
    label_panel(scaling, "b", "global attention against N")

    for curve, (colour, line, marker) in zip(study.tokens, STYLES, strict=False):
        radius, gain = curve.radius[1:], curve.gain[1:]
        law = gain if curve.law is None else curve.law[1:]
        tokens.fill_between(
            radius, curve.low[1:], curve.high[1:], color=colour, alpha=0.15, linewidth=0
        )
        tokens.plot(radius, law, color=colour, linestyle=line, linewidth=1.1)
        name = curve.mixer.rsplit(" ", 1)[-1]
        tokens.plot(
            radius,
            gain,
            color=colour,
            linestyle="none",
            marker=marker,
            markersize=3,
            label=f"logits {name}",
        )
    tokens.set_yscale("log")
    tokens.set_ylabel("gain", fontsize=NORMAL)
    frequency_axis(tokens)
    tokens.legend(fontsize=SMALL, frameon=False)
    label_panel(tokens, "c", "attention on 1/f tokens")
    for axes in (sweep, scaling):
        axes.tick_params(labelsize=SMALL)
        axes.grid(alpha=0.25, linewidth=0.5)
    return figure


def kernels(study: Study) -> "Figure":
    """Families of random kernels."""
    figure = new_figure(7.2, 4.8)
    positive, nonnegative, ratio, spread = figure.subplots(2, 2).ravel()
    for axes, letter, title, curves in (
        (positive, "a", "positive-mean kernels", study.positive),
        (nonnegative, "b", "non-negative kernels", study.nonnegative),
    ):
        draw_curves(axes, curves)
        axes.set_ylim(0, None)
        axes.set_ylabel("gain", fontsize=NORMAL)
        label_panel(axes, letter, title)
    for number, family in enumerate(dict.fromkeys(row.family for row in study.selectivity)):
        rows = [row for row in study.selectivity if row.family == family]
        colour, line, marker = STYLES[number % len(STYLES)]
        law = [row.dc_to_nyquist if row.law is None else row.law for row in rows]
        at = [row.window for row in rows]
        ratio.plot(at, law, color=colour, linestyle=line, linewidth=1.1)
        ratio.plot(
            at,
            [row.dc_to_nyquist for row in rows],
            color=colour,
            linestyle="none",
            marker=marker,
            markersize=3.5,
            label=family,
        )
        _whiskers(spread, rows, number)
    ratio.set_yscale("log")
    ratio.set_ylabel("power at 0 / power at (π, π)", fontsize=NORMAL)
    ratio.legend(fontsize=SMALL, frameon=False, ncols=2, loc="center", bbox_to_anchor=(0.5, 0.24))
    label_panel(ratio, "c", "low against high")
    spread.axhline(1, color=GREY, linewidth=0.7)
    spread.set_ylabel("spectral centroid", fontsize=NORMAL)
    spread.set_ylim(0.2, 1.6)
    spread.legend(fontsize=SMALL, frameon=False, ncols=2, loc="upper center")
    label_panel(spread, "d", "single kernels: mean and deviation")
    for axes in (ratio, spread):
        axes.set_xticks(study.settings.windows, [window_name(k) for k in study.settings.windows])
        axes.tick_params(labelsize=SMALL)
        axes.grid(alpha=0.25, linewidth=0.5)
    handles, names = positive.get_legend_handles_labels()
    nonnegative.legend(handles, names, fontsize=SMALL, frameon=False, ncols=2)
    return figure


def _whiskers(axes: "Axes", rows: list, number: int) -> None:
    colour, _, marker = STYLES[number % len(STYLES)]
    axes.errorbar(
        [row.window + 0.25 * (number - 1.5) for row in rows],
        [row.centroid for row in rows],
        yerr=[row.spread for row in rows],
        color=colour,
        linestyle="none",
        marker=marker,
        markersize=3.5,
        linewidth=1,
        capsize=2,
        label=rows[0].family,
    )


def residuals(study: Study) -> "Figure":
    """Mixers with their shortcut."""
    figure = new_figure(7.2, 4.4)
    panels = figure.subplots(2, 2).ravel()
    for axes, letter, mixer in zip(
        panels,
        "abcd",
        ("I + window graph", "I - window graph", "I + attention", "I - attention"),
        strict=True,
    ):
        draw_curves(axes, [curve for curve in study.residuals if curve.mixer == mixer])
        axes.axhline(1, color=GREY, linewidth=0.7)
        axes.set_ylim(0, 2.1 if "+" in mixer else 1.4)
        axes.set_ylabel("gain", fontsize=NORMAL)
        label_panel(axes, letter, mixer)
    shared_legend(figure, panels, title=_KEY, size=SMALL)
    return figure


def spam(study: Study) -> "Figure":
    """SPAM's heads before and after the filter."""
    figure = new_figure(7.2, 4.8)
    panels = figure.subplots(2, 2).ravel()
    groups = _by_mixer(study.spam)
    whens = [name.removeprefix("head ") for name in groups if name.startswith("head ")]
    for axes, letter, when in zip(panels, "abc", whens, strict=False):
        draw_curves(axes, groups[f"head {when}"])
        axes.set_ylim(0, 0.29)
        axes.set_ylabel("gain", fontsize=NORMAL)
        label_panel(axes, letter, f"heads {when}")
    axes = panels[3]
    smallest = study.settings.windows[0]
    shown = [next(c for c in groups[f"mean {when}"] if c.window == smallest) for when in whens]
    shown += [curve for curve in study.spam if curve.window is None]
    for curve, (colour, line, marker) in zip(shown, STYLES, strict=False):
        name = curve.mixer.replace("mean ", f"{smallest}x{smallest} mean ")
        if curve.window is None:
            name = curve.mixer.replace("mean of ", "")
            name = " - ".join(f"{k}x{k} mean" for k in name.split(" - "))
        axes.plot(
            curve.radius,
            curve.gain,
            color=colour,
            linestyle=line,
            marker=marker,
            markersize=3,
            linewidth=1.1,
            label=f"{name} ({curve.scalars['centroid']:.2f})",
        )
    frequency_axis(axes)
    axes.set_ylim(0, 1.6)
    axes.set_ylabel("gain", fontsize=NORMAL)
    axes.legend(
        fontsize=6,
        frameon=False,
        title="in brackets: centroid",
        title_fontsize=6,
        loc="upper right",
    )
    label_panel(axes, "d", "one window, retuned; two, subtracted")
    handles, names = panels[0].get_legend_handles_labels()
    panels[1].legend(handles, names, fontsize=SMALL, frameon=False, ncols=2)
    return figure


def shape(study: Study) -> "Figure":
    """A disc against white texture."""
    figure = new_figure(4.2, 2.9)
    axes = figure.subplots()
    positions = [*study.settings.windows, None]
    kinds = {}
    for row in study.shape:
        kinds.setdefault(row.mixer, []).append(row)
    for (mixer, rows), (colour, line, marker) in zip(kinds.items(), STYLES, strict=False):
        axes.plot(
            [positions.index(row.window) for row in rows],
            [row.ratio for row in rows],
            color=colour,
            linestyle=line,
            marker=marker,
            markersize=4,
            linewidth=1.1,
            label=mixer,
        )
    axes.axhline(1, color=GREY, linewidth=0.7)
    axes.set_yscale("log")
    axes.set_xticks(range(len(positions)), [window_name(k) for k in positions])
    axes.set_ylabel("power of a disc kept /\npower of white texture kept", fontsize=NORMAL)
    axes.tick_params(labelsize=SMALL)
    axes.grid(alpha=0.25, linewidth=0.5)
    figure.legend(fontsize=SMALL, frameon=False, loc="outside right upper")
    return figure


def _by_mixer(curves: list[Curve]) -> dict[str, list[Curve]]:
    groups: dict[str, list[Curve]] = {}
    for curve in curves:
        groups.setdefault(curve.mixer, []).append(curve)
    return groups


FIGURES = (
    StudyFigure(
        name="responses",
        heading="Convolution and attention",
        text="Gain over radial frequency. A convolution with signed random weights (a) treats all "
        "frequencies alike, whatever its window. As soon as its weights go through a softmax (b) "
        "it passes the constant whole and damps the rest, as attention does (d, e): same law, same "
        "numbers. So the difference is the sign of the weights, not locality; and with sharper "
        "logits attention smooths less (f).",
        draw=responses,
    ),
    StudyFigure(
        name="connectivity",
        heading="Connectivity",
        text="Every row-stochastic map, in a window or global, sharp or soft, at any boundary and "
        "on any tokens, lies on one curve (a): the mean squared gain off the constant is "
        "(N / M_eff - 1) / (N - 1), exactly. Window and sharpness matter through M_eff alone. The "
        "gain of global attention falls as 1 / sqrt(N) and its profile as 1 / N (b), and on "
        "correlated tokens its response follows their spectrum (c), a law for small logits.",
        draw=connectivity,
    ),
    StudyFigure(
        name="kernels",
        heading="Which kernels are low-pass",
        text="Larger kernels are more low-pass only if their weights have a mean: shifted (a) or "
        "non-negative (b) weights pass the constant more, the more of them there are. Signed "
        "weights do not (c). Single signed kernels spread about flat, small ones the most (d): a "
        "3x3 kernel is strongly high- or low-pass far more often than a 9x9 one.",
        draw=kernels,
    ),
    StudyFigure(
        name="residuals",
        heading="With the shortcut",
        text="The identity added to a smoothing mixer gives at most 6 dB of low-pass (a, c). "
        "Subtracted, it gives a high-pass that stops the constant (b, d): attention becomes one "
        "where its value-output map has negative eigenvalues. For wide windows I - C is little "
        "more than the removal of the mean.",
        draw=residuals,
    ),
    StudyFigure(
        name="spam",
        heading="SPAM heads and the spectral filter",
        text="At the start the heads are flat, with gains of 0.02 k, so that the largest kernel "
        "carries most of the power (a). The filter, with gates of theta = +2 in the pass band and "
        "-2 elsewhere, turns any of them into a low-pass (b) or a high-pass (c). A smoothing "
        "window can be retuned too, within limits, and the difference of two is a band-pass (d).",
        draw=spam,
    ),
    StudyFigure(
        name="shape",
        heading="Shape against texture",
        text="How much more of a disc than of white texture a mixer keeps. The mean of a window "
        "favours the disc, the more the wider it is, up to the disc's own size; signed kernels "
        "favour neither. Random attention and softmaxed kernels gain less from width, for their "
        "uneven weights let texture through, and random global attention favours neither. This is "
        "a spectral proxy for shape bias: only a test on a trained model measures that.",
        draw=shape,
    ),
)
