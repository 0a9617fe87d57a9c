"""What every part asks of its tables: figures by seed, paired differences, cells of a table."""

from collections.abc import Mapping, Sequence

from spanetv2.errors import UserError
from spanetv2.page import DASH
from studies.evidence.part import Claim
from studies.evidence.store import Record
from studies.mixers.statistics import estimate, paired

__all__ = ["by_seed", "difference", "mean_cell", "paired_cell"]


def by_seed(
    rows: Sequence[Record], column: str, *, scale: float = 1.0, **wanted: object
) -> dict[int, float]:
    """A column by seed, of the rows that have the wanted values; empty cells are left out."""
    return {
        row["seed"]: scale * row[column]
        for row in rows
        if row[column] is not None and all(row[name] == value for name, value in wanted.items())
    }


def difference(
    text: str, more: Mapping[int, float], less: Mapping[int, float], unit: str = "points"
) -> list[Claim]:
    """The claim that one figure is larger than another, paired by seed; none without pairs."""
    pairs = {seed: more[seed] - less[seed] for seed in sorted(more.keys() & less.keys())}
    return [Claim(text=text, differences=pairs, unit=unit)] if pairs else []


def mean_cell(values: Mapping[int, float], digits: int = 2) -> str:
    """Mean and, of several seeds, the deviation."""
    if not values:
        return DASH
    found = estimate(list(values.values()))
    spread = f" ± {found.sd:.{digits}f}" if found.count > 1 else ""
    return f"{found.mean:.{digits}f}{spread}"


def paired_cell(
    values: Mapping[int, float], reference: Mapping[int, float], digits: int = 2
) -> str:
    """Mean difference with its 95 % interval."""
    try:
        found = paired(dict(values), dict(reference))
    except UserError:
        return DASH
    if found.count < 2:
        return f"{found.mean:+.{digits}f}"
    return f"{found.mean:+.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"
