"""Errors of the system and of libraries, as a sentence: what, where, what to do."""

import errno
import os
import re

from spanetv2.extras import EXTRAS, install
from spanetv2.processes import describe_death

__all__ = ["describe_failure"]

_PERMISSIONS = "change the permissions, or choose another place"
_ADVICE = {
    errno.ENOSPC: ("no space left on the device", "make room, or choose another folder"),
    errno.EDQUOT: ("the quota of disk space is used up", "make room, or choose another folder"),
    errno.EFBIG: ("the system allows no file of that size", "raise the limit (ulimit -f)"),
    errno.EROFS: ("the file system is read-only", "choose another folder"),
    errno.EACCES: ("no permission", _PERMISSIONS),
    errno.EPERM: (
        "the system does not allow it",
        "change the permissions, or choose another place",
    ),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "check the path"),
    errno.EISDIR: ("it is a folder, expected a file", "add a file's name"),
    errno.ENOENT: ("no such file or folder", "check the path"),
    errno.EEXIST: ("a file of that name is there already", "choose another name or folder"),
    errno.ELOOP: ("links that go round in a circle", "remove or mend the link"),
    errno.ENAMETOOLONG: ("the name is too long for the file system", "choose a shorter one"),
    errno.EMFILE: ("too many open files", "raise the limit (ulimit -n), or lower --workers"),
    errno.ENFILE: ("too many open files", "close other programs"),
    errno.EMLINK: ("too many links to a file", "copy the file instead"),
    errno.EIO: ("the device failed to read or write", "check the disk"),
    errno.ESTALE: ("a network file system has lost the file", "try again"),
    errno.EAGAIN: ("the system has no process or memory to spare", "lower --workers"),
    errno.ENOMEM: ("out of memory", "use a smaller batch or fewer --workers"),
    errno.ENXIO: ("nobody listens there", "start the reader first"),
    errno.ECONNREFUSED: ("nobody listens there", "start the reader first"),
}

_LOOP = re.compile(r"Symlink loop from '(.*)'", re.DOTALL)


def describe_failure(error: BaseException) -> str | None:
    """The sentence for an error; None for those that nobody has foreseen.

    Example:
        >>> describe_failure(NotADirectoryError(20, "Not a directory", "notes.txt/run"))
        'notes.txt/run: a part of the path is a file, not a folder; check the path'
    """
    if (told := describe_death(error)) is not None:
        return told
    if isinstance(error, MemoryError):
        return "out of memory; use a smaller batch or image size, or fewer --workers"
    if isinstance(error, RecursionError):
        return "nested too deeply; use a flatter file"
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        return f"{package} is not installed; {install(package)}" if package in EXTRAS else None
    if isinstance(error, RuntimeError) and (found := _LOOP.fullmatch(str(error))) is not None:
        error = OSError(errno.ELOOP, "", found[1])  # as pathlib tells it
    if not isinstance(error, OSError):
        return None
    names = [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    where = " and ".join(os.fsdecode(name) for name in names) or "a file or connection"
    if error.errno in _ADVICE:
        what, advice = _ADVICE[error.errno]
        return f"{where}: {what}; {advice}"
    if error.strerror and names:
        return f"{where}: {error.strerror.lower()}; choose another place, or check this one"
    return None
