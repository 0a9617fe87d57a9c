"""Intervals against tables of Student's distribution, and by simulation."""

import numpy as np
import pytest

from spanetv2.errors import UserError
from studies.mixers.statistics import estimate, paired, prediction_interval

T_2 = 4.302653  # 97.5 % quantile, 2 degrees of freedom, from a table


def test_interval_of_three_runs() -> None:
    found = estimate([1.0, 2.0, 6.0])
    assert found.mean == 3.0
    assert found.sd == pytest.approx(7**0.5)
    assert found.high - found.mean == pytest.approx(T_2 * (7 / 3) ** 0.5, rel=1e-6)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)
    assert found.verdict == "within noise"
    assert estimate([3.0, 3.1, 3.2]).verdict == "above"
    assert estimate([-3.0, -3.1, -3.2]).verdict == "below"


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(5.0, 2.0, size=(1000, 3))
    inside = [one.low <= 5.0 <= one.high for one in (estimate(list(row)) for row in draws)]
    assert 0.93 < np.mean(inside) < 0.97


def test_prediction_covers_further_runs_as_often_as_it_says() -> None:
    draws = np.random.default_rng(1).normal(5.0, 2.0, size=(1000, 5))
    hits = []
    for row in draws:
        low, high = prediction_interval(estimate(list(row[:3])), 2)
        hits.append(low <= row[3:].mean() <= high)
    assert 0.93 < np.mean(hits) < 0.97


def test_pairs_by_seed() -> None:
    found = paired({2: 5.0, 0: 1.0, 7: 9.0}, {0: 0.5, 2: 4.0})
    assert (found.mean, found.count) == (0.75, 2)
    with pytest.raises(UserError, match="without a common seed"):
        paired({0: 1.0}, {1: 1.0})


def test_one_run_tells_nothing_about_the_spread() -> None:
    found = estimate([1.0])
    assert np.isnan(found.low)
    assert found.verdict == "unknown"
    with pytest.raises(UserError, match="expected at least 2"):
        prediction_interval(found, 1)
    with pytest.raises(UserError, match="got no runs"):
        estimate([])
