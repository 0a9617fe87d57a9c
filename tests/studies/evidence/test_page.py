"""The page of evidence says what the committed tables of the five questions say."""

from pathlib import Path

import pytest

from studies.evidence.report import read_parts, report

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "evidence.md"
TABLES = ROOT / "benchmarks" / "results" / "evidence" / "small"


def test_the_pages_tables_are_made_from_the_csv_files() -> None:
    page = PAGE.read_text(encoding="utf-8")
    tables = report(read_parts(TABLES))
    assert len(tables) >= 4
    for table in tables:
        lines = [line for line in table.markdown().splitlines() if line.startswith("|")]
        assert "\n".join(lines) in page, table.title


@pytest.mark.parametrize("name", ["rates", "gates", "cues", "bands"])
def test_the_pages_pictures_are_there(name: str) -> None:
    assert f"(images/evidence_{name}.png)" in PAGE.read_text(encoding="utf-8")
    assert (PAGE.parent / "images" / f"evidence_{name}.png").stat().st_size > 5_000


def test_committed_runs_share_a_scale_and_a_length() -> None:
    for part, (_, _, store) in read_parts(TABLES).items():
        assert store.about["settings"]["scale"] == "small"
        assert {run["updates"] for run in store.runs} == {store.about["settings"]["updates"]}, part
        assert store.about["commits"]
