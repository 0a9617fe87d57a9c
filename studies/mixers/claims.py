"""What the study can say about each claim: the difference it rests on, and the verdict.

A verdict follows from the 95 % interval of the paired differences alone: above 0, the claim is
supported; below 0, it is not (the opposite was seen); with 0 inside, it is within the noise.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from spanetv2.errors import UserError
from studies.mixers.results import Record, Results
from studies.mixers.rows import REFERENCE
from studies.mixers.statistics import Estimate, paired

__all__ = ["CLAIMS", "Claim", "Verdict", "judge", "mean_level"]

Figure = Callable[[Results, str], dict[int, float]]
"""From the results and a row's name to a figure by seed."""


def _score(results: Results, row: str) -> dict[int, float]:
    return {seed: 100 * value for seed, value in results.by_seed(row).items()}


def _filtered(band: str) -> Figure:
    """Accuracy in percent at the smallest radius."""

    def figure(results: Results, row: str) -> dict[int, float]:
        chosen = [one for one in results.filtered if one["row"] == row and one["band"] == band]
        smallest = min((one["radius"] for one in chosen), default=None)
        return {one["seed"]: 100 * one["top1"] for one in chosen if one["radius"] == smallest}

    return figure


def _mean(of: Callable[[Record], float | None]) -> Figure:
    """Mean of a figure over a network's mixers, those that have none (of one token) left out."""

    def figure(results: Results, row: str) -> dict[int, float]:
        by_seed: dict[int, list[float]] = {}
        for mixer in results.mixers:
            if mixer["row"] == row and (value := of(mixer)) is not None:
                by_seed.setdefault(mixer["seed"], []).append(value)
        return {seed: sum(values) / len(values) for seed, values in by_seed.items()}

    return figure


def mean_level(mixer: Record) -> float | None:
    """Gain at frequency 0 over the root mean square of all others, in decibels.

    None on a grid of one token, which has no others.
    """
    if mixer["dc_gain"] is None or mixer["rms_gain"] is None:
        return None
    return 20 * math.log10(max(mixer["dc_gain"], 1e-9) / max(mixer["rms_gain"], 1e-9))


_centroid, _low_pass = _mean(lambda mixer: mixer["lambda_c"]), _mean(mean_level)


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


def _beats(row: str, text: str, better: str = REFERENCE) -> Claim:
    return Claim(text=text, more=better, less=row, figure=_score)


CLAIMS: tuple[Claim, ...] = (
    _beats("spam_no_srf", "The spectral filter (SRF) raises accuracy"),
    _beats("spam_3", "Several kernel sizes are better than 3x3 alone"),
    _beats("spam_5", "Several kernel sizes are better than 5x5 alone"),
    _beats("spam_7", "Several kernel sizes are better than 7x7 alone"),
    _beats("spam_9", "Several kernel sizes are better than 9x9 alone"),
    _beats("spam_no_modulation", "Modulation by the query raises accuracy"),
    _beats("spam_concatenated", "Interleaved heads are better than concatenated ones"),
    _beats(REFERENCE, "The scaled sigmoid is better than the plain one", "spam_scaled_sigmoid"),
    _beats("sepconv", "SPAM is better than ConvFormer's SepConv"),
    _beats("attention", "SPAM is better than self-attention"),
    _beats(REFERENCE, "The hybrid is better than SPAM everywhere", "hybrid"),
    _beats("pooling", "SPAM is better than pooling"),
    _beats("identity", "SPAM is better than mixing nothing"),
    Claim(
        text="Self-attention holds up better than SPAM on low-pass images (smallest radius)",
        more="attention",
        less=REFERENCE,
        figure=_filtered("low"),
    ),
    Claim(
        text="SPAM holds up better than self-attention on high-pass images (smallest radius)",
        more=REFERENCE,
        less="attention",
        figure=_filtered("high"),
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
