"""Standard output and error as a command needs them: any text, no control characters, no crash."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from spanetv2.text import harmless

__all__ = ["CLOSED_PIPE", "safe_streams", "silence"]

CLOSED_PIPE = 141
"""The exit status after the reader of standard output, such as head, has gone: 128 + SIGPIPE."""


class _Harmless(io.TextIOBase):
    """Writes text to a stream, control characters escaped.

    A file's name may hold what moves the cursor or renames the window of a terminal.
    """

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        with _ends_if_nobody_reads():
            self._stream.write(harmless(text))
        return len(text)

    def flush(self) -> None:
        with _ends_if_nobody_reads():
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self._stream.errors


@contextmanager
def _ends_if_nobody_reads() -> Iterator[None]:
    """End as other programs do; typer makes status 1 of a closed pipe that reaches it."""
    try:
        yield
    except BrokenPipeError:
        sys.exit(CLOSED_PIPE)


@contextmanager
def safe_streams() -> Iterator[None]:
    """Print through streams that take any text, whatever the terminal's encoding.

    Characters that the encoding lacks are escaped too.

    Raises:
        BrokenPipeError: the reader of standard output has gone.
    """
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = _Harmless(before[0]), _Harmless(before[1])
    try:
        yield
    except SystemExit:
        before[0].flush()
        raise
    else:
        before[0].flush()
    finally:
        sys.stdout, sys.stderr = before


def silence() -> None:
    """Write to nowhere from here on, after the reader has gone, so that the exit is quiet."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (BrokenPipeError, ValueError):
            os.dup2(nowhere, stream.fileno())
