"""The claims of all parts together: intervals, effects, Holm's correction, and verdicts."""

from collections.abc import Mapping
from dataclasses import dataclass

from spanetv2.page import DASH
from spanetv2.table import Table
from studies.evidence.part import Claim, Part, Tables
from studies.mixers.statistics import CONFIDENCE, Estimate, detectable, estimate, holm

__all__ = ["Verdict", "claims_table", "judge", "power_table"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim and what was found.

    Args:
        part: name of its part.
        claim: the statement.
        found: mean of the differences, with interval.
        adjusted: the p-value after Holm's correction.
        whole: whether all runs of the part are there.
    """

    part: str
    claim: Claim
    found: Estimate
    adjusted: float
    whole: bool

    @property
    def text(self) -> str:
        """supported, refuted (the opposite was seen), not decided, or not decided by one seed."""
        if self.found.count < 2:
            return "one seed: not decided"
        if self.adjusted < 1 - CONFIDENCE:
            return "supported" if self.found.mean > 0 else "refuted: the opposite"
        return "not decided"


def judge(parts: Mapping[str, tuple[Part, Tables, bool]]) -> list[Verdict]:
    """Every claim for which there are figures; the correction counts those of several seeds.

    Args:
        parts: by name: the part, its tables, whether all its runs are there.
    """
    claims = [
        (name, whole, claim, estimate(list(claim.differences.values())))
        for name, (part, tables, whole) in parts.items()
        for claim in part.claims(tables)
    ]
    tested = [place for place, (*_, found) in enumerate(claims) if found.count > 1]
    adjusted = dict(zip(tested, holm([claims[place][3].p_value for place in tested]), strict=True))
    return [
        Verdict(part=name, claim=claim, found=found, adjusted=adjusted.get(place, 1.0), whole=whole)
        for place, (name, whole, claim, found) in enumerate(claims)
    ]


def claims_table(verdicts: list[Verdict]) -> Table:
    """A line per claim."""
    lines = []
    for one in verdicts:
        found, several = one.found, one.found.count > 1
        interval = f" ({found.low:.3g} to {found.high:.3g})" if several else ""
        effect = f"{found.effect:+.1f}" if found.effect == found.effect else DASH
        lines.append(
            [
                one.claim.text,
                one.text + ("" if one.whole else " (partial)"),
                f"{_rounded(found.mean):+.3g} {one.claim.unit}{interval}",
                effect,
                str(found.count),
                _probability(found.p_value) if several else DASH,
                _probability(one.adjusted) if several else DASH,
            ]
        )
    header = ["claim", "verdict", "difference, 95 % interval", "effect d", "seeds", "p", "p, Holm"]
    return Table("Claims", header, lines, text_columns=2)


def _rounded(value: float) -> float:
    """Without what rounding leaves of a difference of equal figures."""
    return round(value, 9) + 0.0


def _probability(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def power_table(
    sds: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 1.0),
    counts: tuple[int, ...] = (3, 5, 10, 20),
    claims: int = 20,
) -> Table:
    """What differences seeds can see: with 80 % power, one claim alone and the first of several.

    Args:
        sds: standard deviations of the paired differences, in points.
        counts: seeds.
        claims: that Holm's correction is made for.
    """
    alpha = 1 - CONFIDENCE
    lines = [
        [
            f"{sd:g}",
            *(
                f"{detectable(sd, count):.2f} / {detectable(sd, count, alpha=alpha / claims):.2f}"
                for count in counts
            ),
        ]
        for sd in sds
    ]
    header = ["sd of the differences", *(f"{count} seeds" for count in counts)]
    title = f"Smallest difference seen with 80 % power: one claim / the first of {claims} (Holm)"
    return Table(title, header, lines)
