"""The figures of all runs as flat tables, and the CSV files they are kept in."""

import csv
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from spanetv2.analysis.arrays import NamedArray
from spanetv2.errors import UserError
from spanetv2.files import atomic_path, write_json
from studies.mixers.matching import Skeleton, cost_of, match_widths
from studies.mixers.plan import PLANS, settings
from studies.mixers.rows import ROWS, UNMATCHED, find_row
from studies.mixers.worker import RESULT

__all__ = [
    "Record",
    "Results",
    "gather",
    "read_results",
    "read_table",
    "write_results",
    "write_table",
]

Record = dict[str, Any]
ABOUT = "about.json"
_SCORES = ("top1", "loss", "miou", "pixel_accuracy")
_DIGITS = 6


@dataclass(kw_only=True)
class Results:
    """Tables of rows, each row a value by the name of its column."""

    runs: list[Record] = field(default_factory=list)
    """One per run: what it was, accuracy, loss, training time."""
    costs: list[Record] = field(default_factory=list)
    """Widths, parameters and multiply-adds of every row, matched and not."""
    curves: list[Record] = field(default_factory=list)
    """Training loss."""
    filtered: list[Record] = field(default_factory=list)
    """Accuracy under filtered input."""
    mixers: list[Record] = field(default_factory=list)
    """Figures of every trained mixer's frequency response."""
    responses: list[Record] = field(default_factory=list)
    """The response itself, against the radius."""
    bank: list[Record] = field(default_factory=list)
    """Kernels and gates of SPAM."""
    speed: list[Record] = field(default_factory=list)
    """Seconds per batch, measured in turns."""
    about: Record = field(default_factory=dict)
    """Plan, recipe, environment."""

    def rows(self) -> list[str]:
        """Names of the rows that were run, in the order of the study."""
        found = {run["row"] for run in self.runs}
        order = [*ROWS, *(name + UNMATCHED for name in ROWS)]
        return [name for name in order if name in found]

    @property
    def score(self) -> str:
        """The column that says how good a run is: top1 or miou."""
        return "miou" if self.about["task"] == "segmentation" else "top1"

    @property
    def score_title(self) -> str:
        """The same for people."""
        return {"top1": "top-1", "miou": "mIoU"}[self.score]

    def by_seed(self, row: str, column: str | None = None) -> dict[int, float]:
        """A column of a row's runs, by seed; the score if none is named."""
        return {run["seed"]: run[column or self.score] for run in self.runs if run["row"] == row}


def _tables() -> list[str]:
    return [one.name for one in fields(Results) if one.name != "about"]


def gather(folder: Path) -> Results:
    """Read the results of all finished runs in a folder.

    Raises:
        UserError: no finished run, runs of several plans or recipes.
    """
    paths = sorted(folder.glob(f"*/{RESULT}"))
    if not paths:
        raise UserError(f"{folder}: no finished runs, expected folders with {RESULT}")
    found = Results()
    plans, commits = set(), set()
    for path in paths:
        record = json.loads(path.read_text(encoding="utf-8"))
        job = json.loads((path.parent / "job.json").read_text(encoding="utf-8"))
        plans.add(record["plan"])
        _add(found, record)
        if not found.about:
            found.about = {
                "plan": record["plan"],
                "task": job["task"],
                # what all runs of a plan share, wherever they were made
                "recipe": settings(
                    {k: v for k, v in job["config"].items() if k not in ("seed", "model")}
                ),
                "environment": record["environment"],
            }
        commits.add(str(record["environment"]["commit"]))
    if len(plans) > 1:
        raise UserError(f"{folder}: runs of plans {', '.join(sorted(plans))}, expected one")
    found.about["commits"] = sorted(commits)
    order = {name: place for place, name in enumerate(found.rows())}
    for name in _tables():
        getattr(found, name).sort(key=lambda row: (order[row["row"]], row["seed"]))
    if (plan := PLANS.get(found.about["plan"])) is not None:
        bases = dict.fromkeys(name.removesuffix(UNMATCHED) for name in found.rows())
        found.costs = list(_costs(plan.skeleton, bases))
    speed = folder / "speed.csv"
    if speed.is_file():
        found.speed = read_table(speed)
    return found


def _add(results: Results, record: Record) -> None:
    key = {"row": record["row"], "seed": record["seed"]}
    training = record["training"]
    results.runs.append(
        {
            **key,
            "dims": " ".join(map(str, record["dims"])),
            "parameters": record["parameters"],
            "multiply_adds": round(record["multiply_adds"]),
            "images": record["images"],
            **{name: record[name] for name in _SCORES if name in record},
            "training_seconds": training["seconds"],
            "started": record["environment"]["started"],
        }
    )
    results.curves += [{**key, **point} for point in record["curve"]]
    if "filtered" not in record:
        return
    for place, value in _values(record["filtered"]):
        results.filtered.append({**key, **place, "top1": value})
    for response in record["responses"]:
        mixer = {**key, "mixer": response["mixer"], "stage": response["stage"]}
        names = ("grid", "dc_gain", "rms_gain", "lambda_c", "hlr", "m_eff", "leakage")
        results.mixers.append({**mixer, **{name: response[name] for name in names}})
        for place, value in _values(response["radial"]):
            if place.pop("quantity") == "g":
                results.responses.append({**mixer, **place, "gain": value})
    for one in record["bank"]:
        mixer = {**key, "mixer": one["mixer"], "stage": one["stage"]}
        for place, value in _values(one["curves"]):
            results.bank.append({**mixer, **place, "gain": value})


def _values(array: Record) -> Iterator[tuple[Record, Any]]:
    """Coordinates and values of a named array in JSON."""
    dims = array["dims"]
    values = np.array(array["values"], dtype=object)
    for *at, value in NamedArray(values, tuple(dims), array["coords"]).rows():
        yield dict(zip(dims, at, strict=True)), value


def _costs(skeleton: Skeleton, rows: Iterable[str]) -> Iterator[Record]:
    for base in rows:
        for name in (base, base + UNMATCHED):
            row = find_row(name)
            dims = match_widths(row, skeleton)
            cost = cost_of(row, skeleton, dims)
            yield {
                "row": base,
                "widths": "matched" if row.matched else "unmatched",
                "dims": " ".join(map(str, dims)),
                "parameters": cost.parameters,
                "multiply_adds": round(cost.multiply_adds),
            }


def write_results(results: Results, folder: Path) -> list[Path]:
    """Write every table that has rows as CSV, and ``about.json``."""
    paths = []
    for name in _tables():
        rows = getattr(results, name)
        path = folder / f"{name}.csv"
        if not rows:
            path.unlink(missing_ok=True)
            continue
        write_table(path, rows)
        paths.append(path)
    write_json(folder / ABOUT, results.about)
    return [*paths, folder / ABOUT]


def write_table(path: Path, rows: list[Record]) -> None:
    """Write rows with the columns of the first one as CSV, atomically."""
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        table = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows({k: _short(v) for k, v in row.items()} for row in rows)


def _short(value: Any) -> Any:
    return f"{value:.{_DIGITS}g}" if isinstance(value, float) else value


def read_results(folder: Path) -> Results:
    """Read tables that ``write_results`` wrote.

    Raises:
        UserError: the folder holds none.
    """
    if not (folder / "runs.csv").is_file():
        raise UserError(f"{folder}: no runs.csv, expected a folder with the tables of a report")
    found = Results(about=json.loads((folder / ABOUT).read_text(encoding="utf-8")))
    for name in _tables():
        if (folder / f"{name}.csv").is_file():
            setattr(found, name, read_table(folder / f"{name}.csv"))
    return found


def read_table(path: Path) -> list[Record]:
    """Rows of a CSV file; numbers are read as such, and an empty cell as None."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [{k: _value(v) for k, v in row.items()} for row in csv.DictReader(stream)]


def _value(text: str) -> Any:
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text or None
