"""What the study can say about each claim: the difference it rests on, and the verdict.

A verdict follows from the 95 % interval of the paired differences alone: above 0, the claim is
supported; below 0, it is not (the opposite was seen); with 0 inside, it is within the noise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from spanetv2.errors import UserError
from spanetv2.evidence.results import Record, Results
from spanetv2.evidence.rows import REFERENCE
from spanetv2.evidence.statistics import Estimate, paired

__all__ = ["CLAIMS", "Claim", "Verdict", "judge", "mean_level"]

Figure = Callable[[Results, str], dict[int, float]]
"""From the results and a row's name to a figure by seed."""


def _score(results: Results, row: str) -> dict[int, float]:
    return {seed: 100 * value for seed, value in results.by_seed(row).items()}


def _filtered(band: str, place: int) -> Figure:
    """Accuracy in percent at one of the radii, the smallest being 0."""

    def figure(results: Results, row: str) -> dict[int, float]:
        chosen = [one for one in results.filtered if one["row"] == row and one["band"] == band]
        radii = sorted({one["radius"] for one in chosen})
        return {one["seed"]: 100 * one["top1"] for one in chosen if one["radius"] == radii[place]}

    return figure


def _centroid(results: Results, row: str) -> dict[int, float]:
    """Mean spectral centroid of a network's mixers, those of a single token left out."""
    found: dict[int, list[float]] = {}
    for one in results.mixers:
        if one["row"] == row and one["lambda_c"] is not None:
            found.setdefault(one["seed"], []).append(one["lambda_c"])
    return {seed: sum(values) / len(values) for seed, values in found.items()}


def mean_level(mixer: Record) -> float | None:
    """Gain at frequency 0 over the root mean square of all others, in decibels.

    None on a grid of one token, which has no others.
    """
    if mixer["dc_gain"] is None or mixer["rms_gain"] is None:
        return None
    return 20 * math.log10(max(mixer["dc_gain"], 1e-9) / max(mixer["rms_gain"], 1e-9))


def _low_pass(results: Results, row: str) -> dict[int, float]:
    """The same, mean over a network's mixers."""
    found: dict[int, list[float]] = {}
    for one in results.mixers:
        if one["row"] == row and (level := mean_level(one)) is not None:
            found.setdefault(one["seed"], []).append(level)
    return {seed: sum(values) / len(values) for seed, values in found.items()}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement that one row has more of something than another.

    Args:
        text: the statement.
        more: the row that should have more.
        less: the row that should have less.
        figure: of what.
        unit: of the figure.
    """

    text: str
    more: str
    less: str
    figure: Figure
    unit: str = "points"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim and what was found."""

    claim: Claim
    difference: Estimate

    @property
    def text(self) -> str:
        """supported, not supported, within noise, or not decided by a single seed."""
        words = {"above": "supported", "below": "not supported: the opposite"}
        return words.get(self.difference.verdict, self.difference.verdict)


def _beats(row: str, what: str) -> Claim:
    return Claim(text=what, more=REFERENCE, less=row, figure=_score)


CLAIMS: tuple[Claim, ...] = (
    _beats("spam_no_srf", "The spectral filter (SRF) raises accuracy"),
    _beats("spam_3", "Several kernel sizes are better than 3x3 alone"),
    _beats("spam_5", "Several kernel sizes are better than 5x5 alone"),
    _beats("spam_7", "Several kernel sizes are better than 7x7 alone"),
    _beats("spam_9", "Several kernel sizes are better than 9x9 alone"),
    _beats("spam_no_modulation", "Modulation by the query raises accuracy"),
    _beats("spam_concatenated", "Interleaved heads are better than concatenated ones"),
    Claim(
        text="The scaled sigmoid is better than the plain one",
        more="spam_scaled_sigmoid",
        less=REFERENCE,
        figure=_score,
    ),
    _beats("sepconv", "SPAM is better than ConvFormer's SepConv"),
    _beats("attention", "SPAM is better than self-attention"),
    Claim(
        text="The hybrid is better than SPAM everywhere",
        more="hybrid",
        less=REFERENCE,
        figure=_score,
    ),
    _beats("pooling", "SPAM is better than pooling"),
    _beats("identity", "SPAM is better than mixing nothing"),
    Claim(
        text="Self-attention holds up better than SPAM on low-pass images (smallest radius)",
        more="attention",
        less=REFERENCE,
        figure=_filtered("low", 0),
    ),
    Claim(
        text="SPAM holds up better than self-attention on high-pass images (smallest radius)",
        more=REFERENCE,
        less="attention",
        figure=_filtered("high", 0),
    ),
    Claim(
        text="Trained SPAM passes higher frequencies than trained self-attention",
        more=REFERENCE,
        less="attention",
        figure=_centroid,
        unit="centroid",
    ),
    Claim(
        text="Trained self-attention raises the mean over all else more than trained SPAM does",
        more="attention",
        less=REFERENCE,
        figure=_low_pass,
        unit="dB",
    ),
    Claim(
        text="Without SRF the mixers pass higher frequencies",
        more="spam_no_srf",
        less=REFERENCE,
        figure=_centroid,
        unit="centroid",
    ),
)


def judge(results: Results) -> list[Verdict]:
    """Every claim whose rows were run, with its verdict."""
    verdicts = []
    for claim in CLAIMS:
        try:
            difference = paired(
                claim.figure(results, claim.more), claim.figure(results, claim.less)
            )
        except UserError:
            continue  # one of the rows was not run
        verdicts.append(Verdict(claim=claim, difference=difference))
    return verdicts
