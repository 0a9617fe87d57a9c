"""Files of JSON lines that grow line by line, and survive the death of the process that writes."""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from spanetv2.errors import UserError
from spanetv2.files import writing
from spanetv2.text import printable

try:
    import fcntl
except ImportError:  # a system without such locks
    fcntl = None

__all__ = ["Journal", "read_lines"]

_FLUSH = 5.0
"""Seconds after which lines are on the disk at the latest, whatever becomes of the machine."""


class Journal:
    """A file of JSON lines, open for one process to add to.

    A process that is killed leaves whole lines, and at most one that is not; the next one to open
    the file removes that.

    Args:
        path: the file; its folder is made.
        keep: keep the lines that are there, from the first on, as long as they pass ``check``;
            otherwise the file begins anew.
        check: says whether a line, with its number from 0, may stay there.

    Attributes:
        lines: number of lines in the file.
        last: the last of them; None where there is none.

    Raises:
        UserError: another process has the file open, or there is no room for it.
        OSError: it cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        keep: bool = False,
        check: Callable[[int, Any], bool] = lambda number, line: True,
    ):
        self.path = path
        self.lines, self.last = 0, None
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[bytes] = path.open("a+b")
        try:
            self._lock()
            end = 0
            if keep:
                for line, place in _read(self._file):
                    if not check(self.lines, line):
                        break
                    self.lines, self.last, end = self.lines + 1, line, place
            self._file.truncate(end)
        except BaseException:
            self._file.close()
            raise
        self._flushed = time.monotonic()

    def write(self, line: Any) -> None:
        """Add a line; JSON values, not-a-number among them."""
        text = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        with writing(self.path, size=self._file.tell() + len(text)):
            self._file.write(text)
            self._file.flush()
            self.lines, self.last = self.lines + 1, line
            if time.monotonic() - self._flushed > _FLUSH:
                os.fsync(self._file.fileno())
                self._flushed = time.monotonic()

    def close(self) -> None:
        """Let the file go, with all lines on the disk."""
        if self._file.closed:
            return
        with writing(self.path):
            try:
                os.fsync(self._file.fileno())
            finally:
                self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _lock(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{printable(str(self.path))} is being written by another process; wait for it, "
                "stop it, or choose another folder with --out"
            ) from None
        except OSError:  # a file system without locks
            return


def read_lines(path: Path) -> Iterator[Any]:
    """The whole lines of a file, up to one that is damaged.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        for line, _ in _read(file):
            yield line


def _read(file: IO[bytes]) -> Iterator[tuple[Any, int]]:
    """Lines, each with the place in the file at which it ends."""
    file.seek(0)
    end = 0
    for text in file:
        if not text.endswith(b"\n"):
            return
        end += len(text)
        try:
            yield json.loads(text), end
        except ValueError:
            return
