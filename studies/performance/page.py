"""docs/performance.md: the goals, then what was measured."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spanetv2.benchmark import document
from studies.performance.exported import accuracy_table, profile_table
from studies.performance.goals import goals_table, processors_table
from studies.performance.precisions import precision_table

__all__ = ["BEGIN", "PAGE", "RESULTS", "goals", "write_page"]

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results"
BEGIN = (
    "<!-- results: made by `python -m studies.performance`; change the program, not this part -->"
)


def goals(records: Sequence[dict[str, Any]]) -> str:
    """The sections on goals, processors, precisions and exported networks."""
    tables = (
        goals_table(records),
        processors_table(records),
        precision_table(),
        profile_table(),
        accuracy_table(),
    )
    return "\n".join(table.markdown(level=2) for table in tables)


def write_page(results: Sequence[str | os.PathLike[str]], out: Path = PAGE) -> list[Path]:
    """Write goals and results into a page, and pictures beside it; see ``document.write_page``."""
    return document.write_page(results, out, begin=BEGIN, opening=goals)
