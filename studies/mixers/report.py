"""Tables of the results for people: accuracy, claims, cost, spectra; and a comparison."""

import statistics as medians
from pathlib import Path

from spanetv2.errors import UserError
from spanetv2.files import write_text
from spanetv2.page import DASH
from spanetv2.table import Table
from studies.mixers.claims import judge, mean_level
from studies.mixers.figures import draw_figures
from studies.mixers.results import Results
from studies.mixers.rows import REFERENCE, find_row
from studies.mixers.statistics import Estimate, estimate, paired, prediction_interval

__all__ = ["compare", "tables_of", "write_report"]


def _number(value: float, digits: int = 2) -> str:
    return DASH if value != value else f"{value:.{digits}f}"


def _interval(mean: Estimate, digits: int = 2) -> str:
    return DASH if mean.count < 2 else f"{mean.low:.{digits}f} to {mean.high:.{digits}f}"


def _percent(values: dict[int, float]) -> dict[int, float]:
    return {seed: 100 * value for seed, value in values.items()}


def _accuracy(results: Results) -> Table:
    title = f"{results.score_title} %"
    header = ["mixer", "seeds", title, "sd", "95 % interval", "minus SPAM, paired"]
    reference = _percent(results.by_seed(REFERENCE))
    lines = []
    for name in results.rows():
        values = _percent(results.by_seed(name))
        found = estimate(list(values.values()))
        difference = DASH
        if name != REFERENCE and values.keys() & reference.keys():
            pair = paired(values, reference)
            difference = f"{pair.mean:+.2f} ({_interval(pair)})"
        lines.append(
            [
                find_row(name).title,
                str(found.count),
                _number(found.mean),
                _number(found.sd),
                _interval(found),
                difference,
            ]
        )
    return Table("Accuracy", header, lines)


def _claims(results: Results) -> Table:
    lines = [
        [
            one.claim.text,
            one.text,
            f"{one.difference.mean:+.3g} {one.claim.unit} ({_interval(one.difference, 3)})",
        ]
        for one in judge(results)
    ]
    return Table("Claims", ["claim", "verdict", "paired difference, 95 % interval"], lines)


def _costs(results: Results) -> Table:
    header = ["mixer", "widths", "channels", "parameters", "of SPAM's", "multiply-adds M"]
    matched = {c["row"]: c for c in results.costs if c["widths"] == "matched"}
    reference = matched.get(REFERENCE)
    lines = []
    for cost in results.costs:
        same = cost["dims"] == matched[cost["row"]]["dims"]
        if same and cost["widths"] == "unmatched":
            continue
        others = [c for c in results.costs if c["row"] == cost["row"] and c is not cost]
        both = any(other["dims"] == cost["dims"] for other in others)
        share = None if reference is None else cost["parameters"] / reference["parameters"]
        lines.append(
            [
                find_row(cost["row"]).title,
                "the skeleton's, which match" if both else cost["widths"],
                ", ".join(cost["dims"].split()),
                f"{cost['parameters']:,}",
                DASH if share is None else f"{share:.1%}",
                _number(cost["multiply_adds"] / 1e6),
            ]
        )
    return Table("Size, for one image", header, lines)


def _spectra(results: Results) -> Table:
    """Mean centroid, and the gain at frequency 0 over that elsewhere, by stage."""
    stages = sorted({row["stage"] for row in results.mixers})
    header = ["mixer", *(f"stage {stage}: centroid, dB at 0" for stage in stages), "leakage"]
    lines = []
    for name in results.rows():
        mixers = [one for one in results.mixers if one["row"] == name]
        if not mixers:
            continue
        cells = []
        for stage in stages:
            values = [m["lambda_c"] for m in mixers if m["stage"] == stage]
            known = [value for value in values if value is not None]
            levels = [mean_level(m) for m in mixers if m["stage"] == stage]
            decibels = [level for level in levels if level is not None]
            centroid = _number(medians.mean(known)) if known else DASH
            level = f"{medians.mean(decibels):+.1f}" if decibels else DASH
            cells.append(f"{centroid}, {level}")
        leakage = [m["leakage"] for m in mixers if m["leakage"] is not None]
        lines.append([find_row(name).title, *cells, _number(medians.mean(leakage))])
    return Table("Frequency responses of the trained mixers", header, lines)


def _speed(results: Results) -> Table:
    header = ["mixer", "inference, images/s", "of SPAM's", "training, images/s", "of SPAM's"]
    by: dict[tuple[str, str], dict[int, float]] = {}
    for one in results.speed:
        by.setdefault((one["row"], one["pass"]), {})[one["round"]] = one["batch"] / one["seconds"]
    lines = []
    for name in dict.fromkeys(row for row, _ in by):
        cells = []
        for work in ("inference", "training"):
            own, reference = by[name, work], by.get((REFERENCE, work))
            ratio = DASH
            if reference is not None:
                ratio = f"{medians.median(own[n] / reference[n] for n in own):.2f}"
            cells += [f"{medians.median(own.values()):,.0f}", ratio]
        lines.append([find_row(name).title, *cells])
    return Table("Throughput, in turns", header, lines)


def tables_of(results: Results) -> list[Table]:
    """All tables for which there are results."""
    parts = [
        (results.runs, _accuracy),
        (results.runs, _claims),
        (results.costs, _costs),
        (results.mixers, _spectra),
        (results.speed, _speed),
    ]
    made = [make(results) for rows, make in parts if rows]
    return [table for table in made if table.rows]


def write_report(results: Results, folder: Path) -> list[Path]:
    """Write ``tables.md`` and the figures."""
    page = folder / "tables.md"
    write_text(page, "\n".join(table.markdown() for table in tables_of(results)))
    return [page, *draw_figures(results, folder)]


def compare(results: Results, earlier: Results) -> list[str]:
    """Say of every row whether its mean lies within what earlier runs make one expect.

    Args:
        results: the new runs.
        earlier: those to compare with.

    Returns:
        A line per row.

    Raises:
        UserError: another plan or recipe, or no row in common.
    """
    for part in ("plan", "recipe"):
        if results.about[part] != earlier.about[part]:
            raise UserError(f"got runs of another {part} than those to compare with")
    lines = []
    for name in results.rows():
        values, before = _percent(results.by_seed(name)), _percent(earlier.by_seed(name))
        if not before:
            continue
        now, then = estimate(list(values.values())), estimate(list(before.values()))
        low, high = prediction_interval(then, now.count)
        lines.append(
            f"{name}: {now.mean:.2f} % of {now.count} seeds is "
            f"{_inside(then.low, now.mean, then.high)} the 95 % interval "
            f"{_interval(then)} of {then.count} seeds, {_inside(low, now.mean, high)} what "
            f"{now.count} further seeds are expected to give, {low:.2f} to {high:.2f}"
        )
        if same := sorted(values.keys() & before.keys()):
            shift = max(abs(values[seed] - before[seed]) for seed in same)
            lines[-1] += f"; seeds {', '.join(map(str, same))} differ by at most {shift:.2f}"
    if not lines:
        raise UserError("got no row in common with the runs to compare with")
    return lines


def _inside(low: float, value: float, high: float) -> str:
    return "inside" if low <= value <= high else "outside"
