"""Means over a few seeds, and how far they can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spanetv2.errors import UserError

__all__ = ["CONFIDENCE", "Estimate", "estimate", "paired", "prediction_interval"]

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The mean of some runs' figures, with Student's interval."""

    mean: float
    sd: float
    """Standard deviation over the runs (n - 1); not a number for a single run."""
    low: float
    """Lower end of the 95 % interval of the mean; not a number for a single run."""
    high: float
    """Upper end."""
    count: int
    """Runs."""

    @property
    def verdict(self) -> str:
        """Of a difference: above, below, or within the noise, as the interval leaves 0 out."""
        if self.count < 2:
            return "unknown"
        if self.low > 0:
            return "above"
        return "below" if self.high < 0 else "within noise"


def estimate(values: Sequence[float]) -> Estimate:
    """Mean, spread and interval of runs that differ in nothing but the seed.

    Args:
        values: one figure per run.

    Raises:
        UserError: no runs.

    Example:
        >>> found = estimate([0.9, 0.91, 0.92])
        >>> round(found.mean, 4), round(found.low, 4), round(found.high, 4)
        (0.91, 0.8852, 0.9348)
    """
    if not values:
        raise UserError("got no runs, expected at least one")
    from scipy import stats

    count, mean = len(values), float(np.mean(values))
    if count == 1:
        return Estimate(mean=mean, sd=np.nan, low=np.nan, high=np.nan, count=1)
    sd = float(np.std(values, ddof=1))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * sd / count**0.5
    return Estimate(mean=mean, sd=sd, low=mean - half, high=mean + half, count=count)


def paired(values: dict[int, float], reference: dict[int, float]) -> Estimate:
    """How much more than the reference, over the seeds that both have.

    Runs of one seed see the same images in the same order, so that their difference varies less
    than either of them.

    Args:
        values: figure by seed.
        reference: the same of the reference.

    Raises:
        UserError: no seed in common.

    Example:
        >>> paired({0: 0.9, 1: 0.8}, {0: 0.8, 1: 0.7}).verdict
        'above'
    """
    seeds = sorted(values.keys() & reference.keys())
    if not seeds:
        raise UserError("got runs without a common seed, expected at least one")
    return estimate([values[seed] - reference[seed] for seed in seeds])


def prediction_interval(earlier: Estimate, runs: int) -> tuple[float, float]:
    """Where the mean of further runs lies with 95 % confidence.

    Args:
        earlier: the runs that were made, at least two.
        runs: how many further ones.

    Raises:
        UserError: a single run tells nothing about the spread.
    """
    if earlier.count < 2:
        raise UserError(f"got {earlier.count} run to compare with, expected at least 2")
    from scipy import stats

    spread = earlier.sd * (1 / earlier.count + 1 / runs) ** 0.5
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, earlier.count - 1)) * spread
    return earlier.mean - half, earlier.mean + half
