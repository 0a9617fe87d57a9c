"""Writing files so that a reader never sees half of one."""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["UniqueNames", "atomic_path", "json_rows", "write_json", "write_text"]


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path``; move it there when the block ends without an error.

    The temporary file keeps the suffix of ``path`` (writers that look at it, such as matplotlib,
    work unchanged), is flushed to disk before the move, and is removed if the block raises. The
    parent folder is made if it is missing.

    Args:
        path: where the finished file belongs.

    Yields:
        The path to write to, in the same folder.

    Raises:
        OSError: the folder cannot be made or written.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        prefix=f".{target.stem}-", suffix=f".part{target.suffix}", dir=target.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes private files; the result should follow the user's umask like any other.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        with temporary.open("rb") as stream:
            os.fsync(stream.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. Not-a-number is refused, as JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def json_rows(
    path: str | os.PathLike[str], *, lines: bool = False
) -> Iterator[Callable[[Any], None]]:
    """Write JSON row by row; the file appears when it is whole.

    A name in it that is not valid text becomes the JSON escape of its stray bytes.

    Args:
        path: where the finished file belongs.
        lines: one row per line and nothing around them, instead of an array.

    Yields:
        A function that writes a row.

    Raises:
        OSError: the folder cannot be made or written.
    """
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as stream,
    ):
        count = 0

        def write(row: Any) -> None:
            nonlocal count
            start = "" if lines else (",\n" if count else "[\n")
            stream.write(start + json.dumps(row, ensure_ascii=False) + ("\n" if lines else ""))
            count += 1

        yield write
        if not lines:
            stream.write("\n]\n" if count else "[]\n")


class UniqueNames:
    """Names of outputs that no two inputs share."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def name(self, path: str) -> str:
        """The file's name without its ending, numbered if another has it already."""
        from spanetv2.text import printable

        stem = printable(Path(path).stem) or "image"
        name, count = stem, 1
        while name in self._used:
            count += 1
            name = f"{stem}-{count}"
        self._used.add(name)
        return name
