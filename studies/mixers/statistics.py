"""Means over a few seeds, and how far they can be trusted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spanetv2.errors import UserError

__all__ = [
    "CONFIDENCE",
    "Estimate",
    "detectable",
    "estimate",
    "holm",
    "paired",
    "power",
    "prediction_interval",
]

CONFIDENCE = 0.95
_PLACES = 4000


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

    @property
    def effect(self) -> float:
        """Of paired differences: mean over deviation (Cohen's d of pairs), with Hedges' correction
        for few pairs; not a number of fewer than three, or where the deviation is 0."""
        if self.count < 3 or not self.sd > 0:
            return np.nan
        correction = 1 - 3 / (4 * (self.count - 1) - 1)
        return correction * self.mean / self.sd

    @property
    def p_value(self) -> float:
        """Two-sided, of a mean of 0, by Student's test; 1 for a single run, whatever it is."""
        from scipy import stats

        if self.count < 2:
            return 1.0
        if self.sd == 0:
            return float(self.mean == 0)
        t = abs(self.mean) / self.sd * self.count**0.5
        return float(2 * stats.t.sf(t, self.count - 1))


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


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of several claims: below 0.05 all of them with a chance of 5 % in all.

    Args:
        p_values: one per claim.

    Source: Holm 1979.

    Example:
        >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    order = np.argsort(p_values, kind="stable")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def power(difference: float, sd: float, count: int, *, alpha: float = 1 - CONFIDENCE) -> float:
    """Chance that a two-sided paired test sees a true difference.

    Args:
        difference: the true mean of the paired differences.
        sd: their standard deviation.
        count: pairs, at least 2.
        alpha: chance of seeing one where there is none.

    Example:
        >>> round(power(0.0, 1.0, 5), 3), round(power(1.0, 0.3, 5), 2)
        (0.05, 1.0)
    """
    from scipy import stats

    free, shift = count - 1, difference / sd * count**0.5
    edge = stats.t.ppf(1 - alpha / 2, free)
    # over equally likely deviations: scipy's noncentral t fails far out
    places = (np.arange(_PLACES) + 0.5) / _PLACES
    edges = edge * np.sqrt(stats.chi2.ppf(places, free) / free)
    seen = stats.norm.sf(edges - shift) + stats.norm.cdf(-edges - shift)
    return float(seen.mean())


def detectable(
    sd: float, count: int, *, alpha: float = 1 - CONFIDENCE, wanted: float = 0.8
) -> float:
    """The smallest true difference that a paired test sees with a chance of 80 %.

    Args:
        sd: standard deviation of the paired differences, in the unit of the result.
        count: pairs, at least 2.
        alpha: chance of seeing one where there is none; divided by the number of claims, a bound
            for Holm's first step.
        wanted: the chance.

    Raises:
        UserError: fewer than two pairs.

    Example:
        >>> round(detectable(1.0, 3), 2), round(detectable(1.0, 5), 2)
        (3.26, 1.68)
    """
    if count < 2:
        raise UserError(f"got {count} pairs, expected at least 2")
    from scipy import optimize

    def lacking(difference: float) -> float:
        return power(difference, 1.0, count, alpha=alpha) - wanted

    high = 1.0
    while lacking(high) < 0:
        high *= 2
    return sd * optimize.bisect(lacking, 0.0, high)  # type: ignore[return-value]
