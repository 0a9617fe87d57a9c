"""docs/performance.md: the goals, then what was measured."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spanetv2.benchmark import document
from spanetv2.benchmark.document import KINDS, read_record
from studies.performance.exported import accuracy_table, profile_table
from studies.performance.goals import goals_table, processors_table
from studies.performance.other_records import OTHER_KINDS, other_table
from studies.performance.precisions import precision_table

__all__ = ["BEGIN", "PAGE", "RESULTS", "opening", "split_results", "write_page"]

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results"
BEGIN = (
    "<!-- results: made by `python -m studies.performance`; change the program, not this part -->"
)


def split_results(
    results: Sequence[str | os.PathLike[str]],
) -> tuple[list[Path], list[dict[str, Any]]]:
    """Files of ``spanetv2 benchmark``, and the records of ``OTHER_KINDS``.

    Raises:
        UserError: a file that is neither.
    """
    files, others = [], []
    for path in map(Path, results):
        record = read_record(path, kinds=(*KINDS, *OTHER_KINDS))
        if record["kind"] in OTHER_KINDS:
            others.append(record)
        else:
            files.append(path)
    return files, others


def opening(others: Sequence[dict[str, Any]] = ()) -> Callable[[Sequence[dict[str, Any]]], str]:
    """What makes the first sections: goals, processors, precisions, exported networks, others."""

    def sections(records: Sequence[dict[str, Any]]) -> str:
        tables = [goals_table([*records, *others]), processors_table(records)]
        tables += [precision_table(), profile_table(), accuracy_table()]
        tables += map(other_table, others)
        return "\n".join(table.markdown(level=2) for table in tables)

    return sections


def write_page(results: Sequence[str | os.PathLike[str]], out: Path = PAGE) -> list[Path]:
    """Write goals and results into a page, and pictures beside it; see ``document.write_page``."""
    files, others = split_results(results)
    return document.write_page(files, out, begin=BEGIN, opening=opening(others))
