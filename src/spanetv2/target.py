"""Where an output goes, and whether it can go there."""

import contextlib
import errno
import os
import tempfile
from pathlib import Path

__all__ = ["find_target", "try_target"]


def find_target(path: str | os.PathLike[str]) -> tuple[Path, bool]:
    """What an output's path leads to, and whether that is a device, a pipe or a socket.

    Raises:
        OSError: a folder, or what cannot be reached: behind a link in a circle, in a file.

    Example:
        >>> find_target("/dev/null")
        (PosixPath('/dev/null'), True)
    """
    given = Path(path)
    with contextlib.suppress(FileNotFoundError):
        given.stat()
    # what /dev/stdout stands for has no name of its own
    special = given.exists() and (not given.is_file() or given.is_relative_to("/dev"))
    target = given if special else Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return target, special


def try_target(path: str | os.PathLike[str]) -> None:
    """Find out whether an output can be written, before the work for it; nothing is changed.

    Raises:
        OSError: it cannot.
    """
    target, special = find_target(path)
    if special:
        return
    folder = next(folder for folder in target.parents if folder.exists())
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        error.filename = str(path)
        raise
