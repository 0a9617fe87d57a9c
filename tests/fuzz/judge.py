"""What no command may do, whatever it is given."""

import hashlib
import re
from pathlib import Path
from typing import Any

from tests.fuzz.worker import LIMIT, Outcome

__all__ = ["faults_of", "hashes", "lines_of", "table_of"]

_EXCEPTION = re.compile(r"\b(?:[A-Z][a-z]+)+(?:Error|Exception|Warning|Interrupt)\b")
_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_STATUSES = (0, 1, 2)


def lines_of(text: str) -> list[str]:
    """Lines of an output, without progress bars and what is said of every run."""
    parts = [part.split("\r")[-1] for part in text.split("\n")]
    usual = re.compile(r"\d+%\||\[\d+:\d+|^computed in ")
    return [part for part in parts if part.strip() and not usual.search(part)]


def faults_of(outcome: Outcome, before: dict[str, str], folder: Path, given: str) -> list[str]:
    """Faults that need no knowledge of the command.

    Args:
        outcome: what the command did.
        before: ``hashes`` of the folder before it.
        folder: where it ran.
        given: all texts of the input, which may be repeated in messages.
    """
    if outcome.status is None:
        return [f"ended by {outcome.end}"]
    faults = []
    said = outcome.out + "\n" + outcome.err
    if outcome.status not in _STATUSES:
        faults.append(f"exit status {outcome.status}")
    if "Traceback (most recent call last)" in said:
        faults.append(f"traceback: {lines_of(outcome.err)[-1][:200]}")
    named = [m[0] for m in re.finditer(_EXCEPTION, said) if m[0] not in given]
    if named:
        line = next(line for line in said.splitlines() if named[0] in line)
        faults.append(f"names {named[0]}: {line[:300]}")
    if "not foreseen:" in said:  # what is left when no one thought of an error
        line = next(line for line in said.splitlines() if "not foreseen:" in line)
        faults.append(f"an error that is {line.partition('error: ')[2][:300]}")
    if control := _CONTROL.search(said):
        faults.append(f"control character {control[0]!r} in what it prints")
    if outcome.status != 0 and not _explained(outcome):
        faults.append(f"exit status {outcome.status} without a message: {outcome.err[-200:]!r}")
    if outcome.seconds > LIMIT:
        faults.append("took too long")
    faults += [f"reached for {what}" for what in outcome.reached[:1]]
    after = hashes(folder)
    if lost := [name for name, digest in before.items() if after.get(name) != digest]:
        faults.append(f"changed its input {lost[0]!r}")
    return faults


def _explained(outcome: Outcome) -> bool:
    words = ("error", "no such", "expected", "could not", "cannot", "missing", "usage")
    lines = lines_of(outcome.err) + lines_of(outcome.out)
    return any(word in line.lower() for line in lines for word in words)


def hashes(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def table_of(text: str, header: str) -> list[list[str]]:
    """Cells of the rows of a printed table; the first cell may hold single blanks.

    Args:
        text: what was printed.
        header: how the table's first line begins.
    """
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith(header)), None)
    rows: list[list[str]] = []
    if start is not None:
        for line in lines[start + 1 :]:
            if not line.strip():
                break
            rows.append(re.split(r"  +", line.strip()))
    return rows


def texts_in(value: Any) -> str:
    """All texts of a recipe, one after the other."""
    if isinstance(value, dict):
        return " ".join(texts_in(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return " ".join(map(texts_in, value))
    return str(value)
