"""A part of the batches of one run, and the folder in which what is said of them is kept.

A run over images is a sequence of batches, which depends on the images and the batch size alone.
Shard K of N takes batches K - 1, K - 1 + N, K - 1 + 2 N, ... as they are: the network sees the
same images together as in the whole run, so that its answers are the same to the last bit. Rows,
JSON values that say all about a batch, go into ``rows/K-of-N.jsonl``, a line a batch; the last line
has the facts about the whole. ``manifest.json`` says of which run the rows are.
"""

import contextlib
import hashlib
import json
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spanetv2.errors import UserError
from spanetv2.files import read_json, write_json
from spanetv2.journal import Journal
from spanetv2.text import printable

__all__ = [
    "MANIFEST",
    "ROWS",
    "Part",
    "Shard",
    "claim",
    "differences",
    "manifest_of",
    "read_manifest",
]

MANIFEST = "manifest.json"
ROWS = "rows"


@dataclass(frozen=True)
class Shard:
    """Which of so many parts.

    Args:
        number: from 1.
        of: how many there are.

    Raises:
        UserError: a number out of range.

    Example:
        >>> [batch for batch in range(8) if Shard(2, 3).takes(batch)]
        [1, 4, 7]
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UserError(f"got shard {self.number}/{self.of}, expected K/N with K from 1 to N")

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From ``3/16``.

        Raises:
            UserError: other text.
        """
        if (found := re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())) is None:
            raise UserError(f"got shard {text!r}, expected K/N such as 3/16, with K from 1 to N")
        return cls(int(found[1]), int(found[2]))

    def takes(self, batch: int) -> bool:
        """Whether a batch, counted from 0, is of this part."""
        return batch % self.of == self.number - 1

    def part(self, index: int, count: int) -> "Shard":
        """Part ``index``, from 0, of ``count`` equal ones of this part.

        Example:
            >>> Shard(3, 16).part(1, 2)
            Shard(number=19, of=32)
        """
        return Shard(self.number + index * self.of, self.of * count)

    def path(self, folder: Path) -> Path:
        """Where its rows are."""
        return folder / ROWS / f"{self.number}-of-{self.of}.jsonl"


def manifest_of(
    command: str, task: str, weights: Path, shards: int, options: Mapping[str, Any]
) -> dict[str, Any]:
    """What two calls must have in common for their rows to be of one run.

    Args:
        command: predict or evaluate.
        task: the weights'.
        weights: the file.
        shards: into how many parts the run is divided.
        options: all that the rows depend on.
    """
    with weights.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "spanetv2": version("spanetv2"),
        "command": command,
        "task": task,
        "weights": digest,
        "shards": shards,
        # as they will be read again
        "options": json.loads(json.dumps(options, default=os.fspath)),
    }


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What is said in a folder about its run; None where nothing is.

    Raises:
        UserError: it cannot be read, or is damaged.
    """
    path, expected = folder / MANIFEST, "what spanetv2 has written about a run"
    if not os.path.lexists(path):
        return None
    try:
        manifest = read_json(path, expected=expected)
    except UserError as error:
        raise UserError(f"{error}; choose another folder") from None
    if isinstance(manifest, dict) and isinstance(manifest.get("options"), dict):
        return manifest
    raise UserError(
        f"{printable(str(path))} is damaged, expected {expected}; choose another folder"
    )


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """What is different in two manifests, in words; "" for nothing."""
    one, other = ({**m, **m["options"]} for m in (there, here))
    keys = [k for k in {**one, **other} if k != "options" and one.get(k) != other.get(k)]
    return ", ".join(f"{key} {_short(one.get(key))}, not {_short(other.get(key))}" for key in keys)


def _short(value: Any) -> str:
    text = printable("none" if value is None else json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 60 else f"{text[:28]}...{text[-28:]}"


class Part:
    """A shard at work: which batches are still to be looked at, and where their rows go.

    Args:
        folder: for the rows; it is made.
        shard: which part.
        manifest: of the run.
        resume: go on behind the rows that are there.

    Attributes:
        done: batches, from the first of the shard's on, whose rows are there.

    Raises:
        UserError: the folder holds rows of another run, or another process writes these.
    """

    def __init__(
        self, folder: Path, shard: Shard, manifest: Mapping[str, Any], *, resume: bool = False
    ):
        self.folder = folder
        self.shard = shard
        claim(folder, manifest)
        self._files: list[str | None] = []
        self._journal = Journal(shard.path(folder), keep=resume, check=self._check)
        last = self._journal.last
        self._end: Mapping[str, Any] | None = last.get("end") if last else None
        self.done = self._journal.lines - self.finished

    @property
    def finished(self) -> bool:
        """Whether the rows of all batches, and the facts about the whole, are there."""
        return self._end is not None

    def takes(self, batch: int) -> bool:
        """Whether a batch, counted from 0 over the whole run, is still to be looked at."""
        return self.shard.takes(batch) and not self.finished and not self.has(batch)

    def has(self, batch: int) -> bool:
        """Whether the rows of a batch are of this part and there."""
        return self.shard.takes(batch) and batch // self.shard.of < self.done

    def files(self, batch: int) -> str | None:
        """The ``files`` that the rows of a batch, which are there, name; None without."""
        return self._files[batch // self.shard.of]

    def _check(self, number: int, line: Any) -> bool:
        if not isinstance(line, dict):
            return False
        if "end" in line:
            return True
        self._files.append(line.get("files"))
        return line.get("batch") == self.shard.number - 1 + number * self.shard.of

    def write(self, batch: int, rows: Mapping[str, Any]) -> None:
        """Add the rows of the next batch."""
        assert not self.finished
        assert self.takes(batch)
        self._journal.write({"batch": batch, **rows})
        self.done += 1

    def end(self, facts: Mapping[str, Any]) -> None:
        """Say that all rows are there.

        Args:
            facts: about the whole; ``batches``, the number of batches of the whole run, and
                ``listing``, a digest of the images in their order, among them.

        Raises:
            UserError: the rows were finished before, with other images.
        """
        if self._end is None:
            self._end = dict(facts)
            self._journal.write({"end": self._end})
        elif self._end.get("listing") != facts["listing"]:
            raise UserError(
                f"the images found are others than those of the run in {self.folder}, which is "
                "finished; choose another folder with --out, or --overwrite to begin anew"
            )

    def close(self) -> None:
        """Let the rows go."""
        self._journal.close()


def claim(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Make a folder that of a run, once.

    Raises:
        UserError: it is that of another run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (there := read_manifest(folder)) is None:
        # of several shards that begin at once one writes; a link never replaces a file
        draft = folder / f".{MANIFEST}-{uuid.uuid4().hex[:8]}.part"
        try:
            write_json(draft, manifest)
            with contextlib.suppress(FileExistsError):
                try:
                    (folder / MANIFEST).hardlink_to(draft)
                except FileExistsError:
                    raise
                except OSError:  # a file system without links
                    write_json(folder / MANIFEST, manifest)
        finally:
            draft.unlink(missing_ok=True)
        there = read_manifest(folder)
    assert there is not None
    if told := differences(there, manifest):
        raise UserError(
            f"{printable(str(folder))} holds results of another run ({told}); choose another "
            "folder with --out, or --overwrite to replace them"
        )
