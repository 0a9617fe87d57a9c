"""The page of evidence says what the committed tables of the five questions say."""

from pathlib import Path

import pytest

from studies.evidence.report import read_parts, report

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "evidence.md"
TABLES = ROOT / "benchmarks" / "results" / "evidence"
SCALES = ["small", "cpu", "cpu_two_epochs"]


@pytest.mark.parametrize("scale", [*SCALES, "cpu_one_rate"])
def test_the_pages_tables_are_made_from_the_csv_files(scale: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    tables = report(read_parts(TABLES / scale))
    assert tables
    for table in tables:
        lines = [line for line in table.markdown().splitlines() if line.startswith("|")]
        assert "\n".join(lines) in page, table.title


@pytest.mark.parametrize("scale", SCALES)
def test_the_pages_pictures_are_those_of_the_csv_files(scale: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, (part, tables, _) in read_parts(TABLES / scale).items():
        if part.draw(tables) is not None:
            picture = f"evidence_{scale}_{name}.png"
            assert f"(images/{picture})" in page
            assert (PAGE.parent / "images" / picture).stat().st_size > 5_000


@pytest.mark.parametrize("scale", SCALES)
def test_committed_runs_share_a_scale_and_a_length(scale: str) -> None:
    for part, (_, _, store) in read_parts(TABLES / scale).items():
        assert store.about["settings"]["scale"] == scale.partition("_")[0]
        assert {run["updates"] for run in store.runs} == {store.about["settings"]["updates"]}, part
        assert store.about["commits"]
