"""Going through a folder, in an order that is the same everywhere."""

import os
from collections.abc import Iterator
from pathlib import Path

from spanetv2.data.images import Failure
from spanetv2.errors import UserError
from spanetv2.kept import is_output_folder
from spanetv2.text import printable

__all__ = ["files_below", "is_file", "is_folder", "is_hidden", "walk"]

_OF_SYSTEMS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"})
"""Folders that systems and archives leave beside what people put there."""


def is_hidden(name: str) -> bool:
    """Whether an entry of a folder is left out: a dot in front, or a folder of some system's own.

    Example:
        >>> is_hidden(".cache"), is_hidden("__MACOSX"), is_hidden("cat")
        (True, True, False)
    """
    return name.startswith(".") or name in _OF_SYSTEMS


def walk(top: str) -> Iterator[str | Failure]:
    """All files below a folder, lazily, sorted by name within each folder.

    Hidden entries are left out (see ``is_hidden``), and folders below ``top`` that outputs go to.
    Links to folders are followed, but no folder is visited twice, so links in a circle end.

    Args:
        top: the folder.

    Yields:
        Paths that begin with ``top``; a ``Failure`` for a folder that cannot be listed.
    """
    return _walk(top, set())


def _walk(folder: str, seen: set[tuple[int, int]]) -> Iterator[str | Failure]:
    try:
        status = os.stat(folder)  # noqa: PTH116 - paths stay the strings that were given
        if (status.st_dev, status.st_ino) in seen or (seen and is_output_folder(status)):
            return
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as listing:
            entries = sorted((e.name, is_folder(e)) for e in listing if not is_hidden(e.name))
    except OSError as error:
        yield Failure(folder, (error.strerror or str(error)).lower())
        return
    for name, further in entries:
        path = os.path.join(folder, name)  # noqa: PTH118
        if further:
            yield from _walk(path, seen)
        else:
            yield path


def files_below(top: Path, ending: str) -> Iterator[Path]:
    """The files that ``walk`` finds whose names end so, in lower case or not.

    Raises:
        UserError: a folder that cannot be listed.
    """
    for path in walk(str(top)):
        if isinstance(path, Failure):
            raise UserError(f"cannot list {printable(path.path)} ({path.reason})")
        if path.lower().endswith(ending):
            yield Path(path)


def is_folder(entry: os.DirEntry[str] | Path) -> bool:
    """Whether an entry is a folder, or a link to one.

    A link that leads nowhere, in a circle or to a name that cannot be is none: reading it as a
    file says what is wrong with it.
    """
    try:
        return entry.is_dir()
    except OSError:
        return False


def is_file(entry: os.DirEntry[str] | Path) -> bool:
    """Whether an entry is a file, or a link to one; see ``is_folder``."""
    try:
        return entry.is_file()
    except OSError:
        return False
