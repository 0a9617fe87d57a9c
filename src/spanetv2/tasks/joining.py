"""The parts of one run, put together again."""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spanetv2.errors import UserError
from spanetv2.journal import read_lines
from spanetv2.kept import keep
from spanetv2.tasks.shard import MANIFEST, ROWS, Shard, differences, read_manifest
from spanetv2.text import printable

__all__ = ["Joined", "join"]

_NAMED = 12
"""Most shards that a message names."""


@dataclass(frozen=True, kw_only=True)
class Joined:
    """All parts of a run.

    Attributes:
        manifest: of the run.
        facts: about the whole, as the first part says them.
        parts: the rows of each part and the folder of its outputs, by number.
    """

    manifest: dict[str, Any]
    facts: dict[str, Any]
    parts: list[tuple[Path, Path]]

    def rows(self) -> Iterator[tuple[dict[str, Any], Path]]:
        """The rows of every batch in order, each with the folder of its outputs.

        Raises:
            UserError: rows are damaged.
        """
        with contextlib.ExitStack() as stack:
            files = [read_lines(path) for path, _ in self.parts]
            for lines in files:
                stack.callback(lines.close)  # pyright: ignore[reportAttributeAccessIssue]
            for batch in range(self.facts["batches"]):
                part = batch % len(files)
                line = next(files[part], None)
                path, folder = self.parts[part]
                if not isinstance(line, dict) or line.get("batch") != batch:
                    raise UserError(
                        f"{printable(str(path))} is damaged at batch {batch + 1}; go on with this "
                        "shard (--resume), and merge again"
                    )
                yield line, folder


def join(folders: Iterable[str | os.PathLike[str]]) -> Joined:
    """Find all parts of a run.

    Args:
        folders: with ``manifest.json`` and ``rows/``; each may hold one part or several.

    Raises:
        UserError: no parts, parts of different runs, or parts that are missing or not finished.
    """
    places = [Path(folder) for folder in folders]
    manifest = _common([(place, read_manifest(place)) for place in places])
    count = manifest["shards"]
    found: dict[int, tuple[Path, Path]] = {}
    ends: dict[int, dict[str, Any]] = {}
    unfinished: dict[int, int] = {}
    for place in places:
        for number, path in _parts(place, count):
            end, lines = _end(path)
            if end is None:
                unfinished[number] = max(lines, unfinished.get(number, 0))
            elif number not in ends:
                ends[number], found[number] = end, (path, place)
            if number in ends:
                unfinished.pop(number, None)
    if missing := [number for number in range(1, count + 1) if number not in ends]:
        raise UserError(_missing(missing, unfinished, count, places))
    keep(path for path, _ in found.values())
    keep(place / MANIFEST for place in places)
    first = ends[1]
    for number, end in ends.items():
        if any(end.get(key) != first.get(key) for key in ("batches", "listing")):
            raise UserError(
                f"shards 1 and {number} of {count} found different images ({first.get('batches')} "
                f"and {end.get('batches')} batches); expected the same files in the same places on "
                "every machine"
            )
    return Joined(
        manifest=manifest, facts=first, parts=[found[number] for number in range(1, count + 1)]
    )


def _common(manifests: list[tuple[Path, dict[str, Any] | None]]) -> dict[str, Any]:
    """The manifest that all folders have."""
    if not manifests:
        raise UserError("got no folder, expected folders with rows of predict or evaluate")
    for folder, manifest in manifests:
        if manifest is None:
            raise UserError(
                f"got {printable(str(folder))}, a folder without {MANIFEST}, expected one that "
                "predict or evaluate --out has written"
            )
    (first, common), *others = manifests
    assert common is not None
    for folder, manifest in others:
        assert manifest is not None
        if told := differences(common, manifest):
            raise UserError(
                f"{printable(str(first))} and {printable(str(folder))} are of different runs "
                f"({told}), expected shards of one"
            )
    return common


def _parts(folder: Path, count: int) -> Iterator[tuple[int, Path]]:
    for path in sorted((folder / ROWS).glob("*.jsonl")):
        if (named := re.fullmatch(r"(\d+)-of-(\d+)\.jsonl", path.name)) is None:
            continue
        number = int(named[1])
        if int(named[2]) == count and Shard(number, count).path(folder) == path:
            yield number, path


def _end(path: Path) -> tuple[dict[str, Any] | None, int]:
    """The facts at the end of a part's rows, None without; and the number of lines before."""
    lines, last = 0, None
    for last in read_lines(path):  # noqa: B007 - the last one is what is asked for
        lines += 1
    if isinstance(last, dict) and isinstance(last.get("end"), dict):
        return last["end"], lines - 1
    return None, lines


def _missing(
    missing: list[int], unfinished: dict[int, int], count: int, folders: list[Path]
) -> str:
    told = [
        f"{number}/{count}"
        + (f" (not finished: {unfinished[number]} batches)" if number in unfinished else "")
        for number in missing[:_NAMED]
    ]
    more = f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
    places = ", ".join(printable(str(folder)) for folder in folders)
    if count == 1:
        return f"the run in {places} is not finished; make the same call again with --resume"
    return (
        f"{len(missing)} of {count} shards are missing in {places}: {', '.join(told)}{more}; run "
        "them with --shard (and --resume where they have begun), and merge again"
    )
