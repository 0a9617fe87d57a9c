"""What is said about convolution and attention, what holds, and the study's figures for it."""

from dataclasses import dataclass

import numpy as np

from spanetv2.theory import laws
from spanetv2.theory.study import Curve, Study

__all__ = ["STATEMENTS", "Verdict", "verdicts"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A statement, whether it holds and why, and what was measured."""

    statement: str
    verdict: str
    measured: str


STATEMENTS: dict[str, tuple[str, str]] = {
    "differ": (
        "Convolution and attention behave differently in frequency.",
        "True. Attention passes the constant whole and no wave more; a kernel's gain is free.",
    ),
    "high_pass": (
        "Convolution is the better high-pass filter.",
        "True. The cause is the freedom of sign, against weights that are positive and "
        "sum to 1; not locality: a softmaxed convolution behaves like attention.",
    ),
    "large_kernels": (
        "Larger kernels are more low-pass, like attention.",
        "True for non-negative or positive-mean weights and for the window graph; "
        "false for signed kernels of mean 0, which are flat at every size. The high-pass "
        "I - A_k loses selectivity as k grows.",
    ),
    "connectivity": (
        "Connectivity is the key factor.",
        "True, exactly, for every row-stochastic mixer. The variable is the effective "
        "connectivity M_eff, window and sharpness together, not the window alone.",
    ),
    "shape": (
        "Larger kernels favour shape.",
        "Only a spectral proxy is shown here: true for smoothing windows, false for "
        "signed kernels and for random global attention. Whether a trained model decides by "
        "shape, the cue-conflict test must measure.",
    ),
}
"""Statements of the paper and what holds of them, in words; the study has the figures."""


def verdicts(study: Study) -> list[Verdict]:
    """Judge the paper's statements by the study."""
    windows = study.settings.windows
    small, large = windows[0], windows[-1]
    signed, softmaxed = _rms(study.signed), _rms(study.softmaxed)
    sharp = _rms(study.attention_sharp)
    rows = {(row.family, row.window): row for row in study.selectivity}
    kept = {(row.mixer, row.window): row.ratio for row in study.shape}
    error = max(abs(p.rms_gain / p.law - 1) for p in study.connectivity)

    def over(values: dict[int, float], digits: int = 2) -> str:
        return ", ".join(f"{values[k]:.{digits}f}" for k in windows)

    def nyquist(family: str) -> str:
        return over({k: rows[family, k].dc_to_nyquist for k in windows}, 1)

    sides = ", ".join(map(str, windows))
    complement = {k: laws.complement_centroid(k) for k in windows}
    return [
        Verdict(
            **_said("differ"),
            measured=f"k = {small}: a signed kernel has gain {_dc(study.signed, small):.2f} at the "
            f"constant and {signed[small]:.2f} off it, attention with logits of 1 has "
            f"{_dc(study.attention_sharp, small):.2f} and {sharp[small]:.2f}, global attention "
            f"{sharp[None]:.3f}.",
        ),
        Verdict(
            **_said("high_pass"),
            measured=f"Gain off the constant at k = {sides}: signed "
            f"{over({k: signed[k] for k in windows}, 3)}; softmaxed "
            f"{over({k: softmaxed[k] for k in windows}, 3)}; attention "
            f"{over({k: sharp[k] for k in windows}, 3)}. Signed {small}x{small} kernels with a "
            f"centroid over 1.15: {100 * rows['signed', small].high_share:.0f} %.",
        ),
        Verdict(
            **_said("large_kernels"),
            measured=f"Power at 0 by power at (pi, pi), k = {sides}: non-negative "
            f"{nyquist('non-negative')}; positive mean {nyquist('positive mean')}; signed "
            f"{nyquist('signed')}. Cut-off of A_k: "
            f"{over({k: laws.box_cutoff(k) for k in windows})} rad. Centroid of I - A_k: "
            f"{over(complement, 3)}.",
        ),
        Verdict(
            **_said("connectivity"),
            measured=f"{len(study.connectivity)} maps, M_eff from "
            f"{min(p.m_eff for p in study.connectivity):.1f} to "
            f"{max(p.m_eff for p in study.connectivity):.0f}: largest relative distance from the "
            f"law {error:.0e}.",
        ),
        Verdict(
            **_said("shape"),
            measured=f"Disc against white texture, k = {small} and {large}: window graph "
            f"{kept['window graph', small]:.1f} and {kept['window graph', large]:.1f}; attention "
            f"{kept['attention', small]:.1f} and {kept['attention', large]:.1f}, global "
            f"{kept['attention', None]:.1f}; signed kernels "
            f"{kept['signed kernel', small]:.2f} and {kept['signed kernel', large]:.2f}.",
        ),
    ]


def _said(key: str) -> dict[str, str]:
    statement, verdict = STATEMENTS[key]
    return {"statement": statement, "verdict": verdict}


def _rms(curves: list[Curve]) -> dict[int | None, float]:
    return {curve.window: curve.scalars["rms_gain"] for curve in curves}


def _dc(curves: list[Curve], window: int) -> float:
    return float(np.mean([c.scalars["dc_gain"] for c in curves if c.window == window]))
