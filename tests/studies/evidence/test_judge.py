"""Verdicts of made-up differences, and what seeds can see."""

import numpy as np
import pytest

from spanetv2.errors import UserError
from spanetv2.page import DASH
from studies.evidence.judge import claims_table, judge, power_table
from studies.evidence.part import Claim
from studies.mixers.statistics import detectable, estimate, holm, power


class _Made:
    """A part whose claims are given."""

    def __init__(self, *differences: tuple[float, ...]) -> None:
        self.differences = differences

    def claims(self, tables) -> list[Claim]:
        return [
            Claim(text=f"claim {n}", differences=dict(enumerate(values)))
            for n, values in enumerate(self.differences)
        ]


def test_a_claim_stands_falls_or_is_open_after_the_correction() -> None:
    part = _Made((2.0, 2.1, 1.9), (-2.0, -2.1, -1.9), (0.5, 0.8, 0.3), (1.0,))
    verdicts = judge({"one": (part, {}, True), "two": (_Made((0.4, -0.3, 0.1)), {}, False)})
    assert [one.text for one in verdicts] == [
        "supported",
        "refuted: the opposite",
        "not decided",  # p of 0.07
        "one seed: not decided",
        "not decided",
    ]
    alone = judge({"one": (_Made((0.5, 0.62, 0.4)), {}, True)})
    assert alone[0].text == "supported"  # p of 0.016 alone
    among = judge({"one": (_Made((0.5, 0.62, 0.4), *[(1.0, -1.0, 0.2)] * 4), {}, True)})
    assert among[0].text == "not decided"
    table = claims_table(verdicts)
    assert table.rows[4][1] == "not decided (partial)"
    assert table.rows[3][3:] == [DASH, "1", DASH, DASH]


def test_holm_is_the_textbooks() -> None:
    assert holm([0.01, 0.02, 0.03, 0.04]) == pytest.approx([0.04, 0.06, 0.06, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_effect_and_p_are_those_of_the_paired_test() -> None:
    from scipy import stats

    values = [0.5, 0.8, 0.3, 0.1]
    found = estimate(values)
    assert found.p_value == pytest.approx(float(stats.ttest_1samp(values, 0).pvalue))
    assert found.effect == pytest.approx((1 - 3 / 11) * np.mean(values) / np.std(values, ddof=1))
    assert estimate([1.0]).p_value == 1


def test_power_is_what_simulation_gives() -> None:
    random = np.random.default_rng(0)
    draws = random.normal(1.5, 1.0, (20_000, 4))
    t = draws.mean(1) / draws.std(1, ddof=1) * 2
    seen = np.mean(np.abs(t) > 3.182446)
    assert power(1.5, 1.0, 4) == pytest.approx(seen, abs=0.01)
    assert power(detectable(0.3, 5), 0.3, 5) == pytest.approx(0.8, abs=1e-6)
    assert detectable(1.0, 3, alpha=0.05 / 20) > 4 * detectable(1.0, 3) / 2
    with pytest.raises(UserError, match="got 1 pairs"):
        detectable(1.0, 1)
    assert power_table(sds=(1.0,), counts=(3,)).rows[0][1].startswith("3.26 / ")
