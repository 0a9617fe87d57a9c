"""What no command may do, whatever it is given."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fuzz.worker import LIMIT, Outcome

__all__ = [
    "SORTS",
    "faults_of",
    "hashes",
    "lines_of",
    "named_in",
    "number_in",
    "plain",
    "sort_of",
    "table_of",
    "texts_in",
]

_EXCEPTION = re.compile(r"\b(?:[A-Z][a-z]+)+(?:Error|Exception|Warning|Interrupt)\b")
_CONTROL = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_STATUSES = (0, 1, 2)
SORTS = {
    "tracebacks": ("traceback",),
    "exception names": ("names ", "an error that is"),
    "hangs": ("ended by hang", "took too long"),
    "crashes": ("ended by",),
    "silently wrong": ("never the start of a fault",),
    "foreign files": ("reached for open",),
    "network": ("reached for",),
    "other": ("exit status", "control character", "changed its input", "refused, and left"),
}
"""How faults are counted, and how each begins; what begins in no such way is silently wrong."""


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


def sort_of(fault: str) -> str:
    """The column of ``SORTS`` in which a fault is counted."""
    return next(
        (sort for sort, starts in SORTS.items() if fault.startswith(starts)), "silently wrong"
    )


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


def named_in(outcome: Outcome, paths: Sequence[Path], folder: Path) -> list[Path]:
    """Those of some files that an error names.

    Args:
        outcome: what the command did.
        paths: the files.
        folder: where it ran.
    """
    errors = [plain(line) for line in lines_of(outcome.err) if line.startswith("error: ")]
    shown = {path: f"error: {plain(str(path.relative_to(folder)))}: " for path in paths}
    return [path for path in paths if any(line.startswith(shown[path]) for line in errors)]


def plain(text: str) -> str:
    """A text with a question mark for all that is printed escaped, in whatever way."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return re.sub(r"\\(?:x..|u....|U.{8}|[nrt])", "?", text)


def number_in(text: str, pattern: str) -> int | None:
    """The number that a pattern finds in what was printed; None where it is not there."""
    found = re.search(pattern, text)
    return None if found is None else int(found[1].replace(",", ""))


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
            cells = re.split(r"  +", line.strip())
            if len(cells) < 2:  # the table's end
                break
            rows.append(cells)
    return rows


def texts_in(value: Any) -> str:
    """All texts of a recipe, one after the other."""
    if isinstance(value, dict):
        return " ".join(texts_in(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return " ".join(map(texts_in, value))
    return str(value)
