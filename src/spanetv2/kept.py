"""Files that a command reads, which none of its outputs may replace."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path

from spanetv2.errors import UserError
from spanetv2.target import try_target
from spanetv2.text import printable

__all__ = ["is_output_folder", "keep", "keeping", "leave_out", "promise", "refuse_to_replace"]

_Paths = Iterable[str | os.PathLike[str]]


class _Kept:
    """What is kept: files by their identity, listed when the first output would replace a file."""

    def __init__(self) -> None:
        self.sources: list[Callable[[], _Paths]] = []
        self.identities: set[tuple[int, int]] = set()
        self.output_folders: list[Path] = []
        self.promised: list[str | os.PathLike[str]] = []

    def add(self, paths: _Paths | Callable[[], _Paths]) -> None:
        self.sources.append(paths if callable(paths) else lambda: paths)

    def holds(self, path: Path) -> bool:
        try:
            status = path.stat()
        except OSError:
            return False  # nothing there to be replaced
        while self.sources:
            for kept in self.sources.pop()():
                with contextlib.suppress(OSError, ValueError):
                    found = os.stat(kept)  # noqa: PTH116 - of paths by the million
                    self.identities.add((found.st_dev, found.st_ino))
        return (status.st_dev, status.st_ino) in self.identities


_kept: ContextVar[_Kept | None] = ContextVar("kept", default=None)


@contextlib.contextmanager
def keeping() -> Iterator[None]:
    """Keep what ``keep`` names in this block; one inside another keeps for the outer one."""
    if _kept.get() is not None:
        yield
        return
    token = _kept.set(_Kept())
    try:
        yield
    finally:
        _kept.reset(token)


def keep(paths: _Paths | Callable[[], _Paths]) -> None:
    """Let no output of the block around replace these files, by whatever name it goes.

    Args:
        paths: files, or a function that lists them; they are only looked at when an output would
            replace a file. Without a block around, nothing is kept.
    """
    if (kept := _kept.get()) is not None:
        kept.add(paths)
        for output in kept.promised:
            refuse_to_replace(output)


def promise(*outputs: str | os.PathLike[str] | None) -> None:
    """Say what the block around will write at its end, so that it is refused before the work.

    Args:
        outputs: files; None is passed over.

    Raises:
        UserError: one of them would replace a file that is kept, or another one; ``keep`` raises
            it for files that become so later.
        OSError: one of them cannot be written.
    """
    if (kept := _kept.get()) is not None:
        kept.promised += [output for output in outputs if output is not None]
        for number, output in enumerate(kept.promised):
            refuse_to_replace(output)
            if any(_same(output, other) for other in kept.promised[:number]):
                raise UserError(
                    f"got {printable(str(output))} for two outputs, expected a file for each"
                )
            try_target(output)


def _same(a: str | os.PathLike[str], b: str | os.PathLike[str]) -> bool:
    real = os.path.realpath(a)
    return real == os.path.realpath(b) and not real.startswith("/dev/")


def leave_out(folder: str | os.PathLike[str]) -> None:
    """Do not search a folder of outputs for inputs, for the length of the block around.

    Args:
        folder: it need not be there yet.
    """
    if (kept := _kept.get()) is not None:
        kept.output_folders.append(Path(folder))


def is_output_folder(status: os.stat_result) -> bool:
    """Whether a folder is one that ``leave_out`` named."""
    for folder in () if (kept := _kept.get()) is None else kept.output_folders:
        with contextlib.suppress(OSError):
            if os.path.samestat(folder.stat(), status):
                return True
    return False


def refuse_to_replace(path: str | os.PathLike[str]) -> None:
    """Refuse an output that would replace a file which is kept.

    Raises:
        UserError: the path is such a file: the same name, or a hard or symbolic link to it.
    """
    kept = _kept.get()
    if kept is not None and kept.holds(Path(path)):
        raise UserError(
            f"output {printable(str(path))} would replace a file that is read (or a link to one); "
            "choose another folder or name for the output"
        )
