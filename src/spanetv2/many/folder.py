"""The folder of a run's rows: what its manifest says, and what is removed from it."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spanetv2.data.walk import is_folder
from spanetv2.errors import UserError
from spanetv2.files import atomic_path, remove_partial
from spanetv2.journal import read_lines
from spanetv2.many.ranks import Ranks
from spanetv2.tasks import find_task
from spanetv2.tasks.shard import MANIFEST, ROWS, read_manifest
from spanetv2.text import printable

__all__ = ["EVALUATION", "begin", "bring", "clear", "inside", "names_of", "tidy"]

EVALUATION = "evaluation.json"
"""Where the figures of an evaluation with a folder go."""

_LISTED = 20


def names_of(paths: Sequence[str]) -> list[str] | str:
    """Paths as a manifest has them: as they are, or a digest of many."""
    if len(paths) <= _LISTED:
        return list(paths)
    digest = hashlib.sha256(json.dumps(list(paths)).encode()).hexdigest()
    return f"{len(paths)} paths, {digest}"


def inside(folder: Path, name: Path) -> Path:
    """A file that rows name, within the folder.

    Raises:
        UserError: it is elsewhere.
    """
    path = folder / name
    if name.is_absolute() or ".." in name.parts:
        raise UserError(
            f"rows in {printable(str(folder))} name {printable(str(name))}, which is not in that "
            "folder; expected rows that spanetv2 has written"
        )
    return path


def bring(source: Path, target: Path) -> None:
    """Copy a file, whole or not at all; into its own place is nothing to do."""
    if target.exists() and source.samefile(target):
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def begin(folder: Path, ranks: Ranks | None, *, overwrite: bool) -> None:
    """Before the first row: remove what is to be replaced, once for all processes.

    Args:
        folder: of the rows.
        ranks: this process among those that share the work.
        overwrite: remove what is there.
    """
    if overwrite and (ranks is None or not ranks.rank):
        clear(folder)
    if ranks is not None:
        ranks.wait()


def tidy(folder: Path) -> None:
    """Remove what killed processes were still writing; nobody may be writing now."""
    for place in (folder, *filter(is_folder, folder.iterdir())):
        remove_partial(place)


def clear(folder: Path) -> None:
    """Remove what predict or evaluate has made in a folder, as its manifest and rows tell.

    Raises:
        UserError: the manifest is damaged.
    """
    if (manifest := read_manifest(folder)) is None:
        return
    for path in _made(folder, manifest):
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others' files are in it
            if path.parent != folder:
                path.parent.rmdir()
    shutil.rmtree(folder / ROWS, ignore_errors=True)
    (folder / MANIFEST).unlink(missing_ok=True)


def _made(folder: Path, manifest: Mapping[str, Any]) -> Iterator[Path]:
    if manifest["command"] == "evaluate":
        stem = Path(EVALUATION).stem
        yield from (folder / EVALUATION, folder / f"{stem}.results.json")
        return
    task = find_task(manifest["task"])
    facts = {"classes": [], "category_ids": []}
    writer = task.prediction_writer(facts, {"out": folder})
    yield from writer.files
    for rows in sorted((folder / ROWS).glob("*.jsonl")):
        for line in read_lines(rows):
            for record in line.get("rows", ()) if isinstance(line, dict) else ():
                yield from (inside(folder, name) for name in writer.pictures(record))
