"""The page of evidence says what the committed tables say."""

import re
from pathlib import Path

import pytest

from studies.mixers.figures import FIGURES
from studies.mixers.plan import PLANS
from studies.mixers.report import tables_of
from studies.mixers.results import read_results

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "evidence.md"
TABLES = ROOT / "benchmarks" / "results" / "evidence" / "two_epochs"


def test_the_pages_tables_are_made_from_the_csv_files() -> None:
    page = PAGE.read_text(encoding="utf-8")
    tables = tables_of(read_results(TABLES))
    assert len(tables) == 5
    for table in tables:
        lines = [line for line in table.markdown().splitlines() if line.startswith("|")]
        assert len(lines) > 5
        assert "\n".join(lines) in page


def test_the_pages_figures_exist() -> None:
    names = re.findall(r"\(images/(evidence_\w+\.png)\)", PAGE.read_text(encoding="utf-8"))
    assert set(FIGURES) <= {name.removeprefix("evidence_").removesuffix(".png") for name in names}
    for name in names:
        assert (PAGE.parent / "images" / name).stat().st_size > 10_000


def test_the_committed_runs_are_those_of_the_plan() -> None:
    results = read_results(TABLES)
    plan = PLANS["cpu"]
    assert [(run["row"], run["seed"]) for run in results.runs] == [
        (row, seed) for row in plan.rows for seed in plan.seeds
    ]
    assert all(run["images"] == 10_000 for run in results.runs)
    recipe = results.about["recipe"]
    for group in ("augmentation", "mixing", "optimizer", "schedule"):
        assert recipe[group] == plan.recipe[group]
    for run in results.runs:
        facts = next(r for r in plan.runs() if (r.row.name, r.seed) == (run["row"], run["seed"]))
        assert run["parameters"] == facts.facts()["parameters"]
    costs = {c["row"]: c["parameters"] for c in results.costs if c["widths"] == "matched"}
    assert max(costs.values()) / min(costs.values()) == pytest.approx(1, abs=0.05)
