"""Running one input: build it, run the command, judge what it did."""

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.fuzz.judge import faults_of, hashes, sort_of, texts_in
from tests.fuzz.kinds import KINDS
from tests.fuzz.worker import Worker

__all__ = ["CASES", "FaultError", "kept_cases", "run_input", "working"]

CASES = Path(__file__).with_name("cases")
"""Inputs that once found a fault: ``{"fault": what it was, "kind": ..., "recipe": ...}``."""


class FaultError(AssertionError):
    """What a command did wrong.

    Attributes:
        kind: what is the same for all faults like this one.
        sort: one of ``SORTS``.
    """

    def __init__(self, text: str, kind: str, sort: str):
        super().__init__(text)
        self.kind, self.sort = kind, sort


@contextmanager
def working() -> Iterator[tuple[Worker, Path]]:
    """A worker, and a folder for its inputs."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    worker = Worker(folder)
    try:
        yield worker, folder
    finally:
        worker.close()
        shutil.rmtree(folder, ignore_errors=True)


def run_input(worker: Worker, folder: Path, made: dict[str, Any]) -> None:
    """Run an input.

    Args:
        worker: runs the command.
        folder: for the input's files.
        made: ``kind`` and ``recipe``.

    Raises:
        FaultError: the command did something that no command may do.
    """
    kind = KINDS[made["kind"]]
    here = folder / "here"
    shutil.rmtree(here, ignore_errors=True)
    here.mkdir()
    argv = kind.build(made["recipe"], here)
    before = hashes(here)
    outcome = worker.run(argv, here)
    found = faults_of(outcome, before, here, texts_in(made["recipe"]))
    if not found:
        found = kind.judge(made["recipe"], here, outcome)
    if found:
        said = json.dumps({"out": outcome.out[-400:], "err": outcome.err[-800:]})
        raise FaultError(
            f"{' '.join(argv)}: {found[0]}\n{said}",
            f"{made['kind']}: {_like(found[0])}",
            sort_of(found[0]),
        )


def _like(fault: str) -> str:
    """A fault without the numbers and names that differ from input to input."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|/\S+|\d[\d.,e+-]*", "#", fault)[:120]


def kept_cases() -> dict[str, dict[str, Any]]:
    """The inputs in ``cases`` by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(CASES.glob("*.json"))}
