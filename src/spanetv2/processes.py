"""Processes that a command starts: they end with it, and their deaths are told in words."""

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator

from spanetv2.errors import UserError

__all__ = ["begin_worker", "describe_death", "describe_end", "end_with_parent", "naming_deaths"]

_INTERVAL = 1.0
"""Seconds between two looks at whether the parent is there."""

_KILLED = re.compile(
    r"worker.*\((?:pid|pid\(s\)) ([\d, ]+)\)(?: is killed by signal: (\w[\w ]*)| exited unexpect)"
)

_KILLED_BY_SYSTEM = "was killed by the system, as it does when memory runs out"


def end_with_parent(tell: Callable[[], None] = lambda: None) -> None:
    """End this process within seconds when the one that started it is gone, however it went.

    What a killed process had started would otherwise wait for it for ever.

    Args:
        tell: done before.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_INTERVAL)
        tell()
        os._exit(1)

    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def begin_worker(_: int) -> None:
    """What a loading process does first."""
    end_with_parent()


def describe_death(error: BaseException) -> str | None:
    """A line about the death of a loading process; None for other errors.

    Args:
        error: what PyTorch's loader raised, wherever it did: it may be amid other work.
    """
    found = _KILLED.search(str(error)) if isinstance(error, RuntimeError) else None
    if found is None:
        return None
    name = (found[2] or "").strip()
    if name.startswith("Bus error"):
        return (
            f"a loading process ({found[1]}) found no shared memory; raise its limit (docker run "
            "--shm-size 8g), or lower --data.workers (--workers)"
        )
    how = f"was killed ({name})" if name else "ended without a word"
    if name == "Killed":
        how = _KILLED_BY_SYSTEM
    return (
        f"a loading process ({found[1]}) {how}; use fewer (--data.workers, --workers) or smaller "
        "batches, or give more memory"
    )


def describe_end(status: int) -> str:
    """How a process ended.

    Args:
        status: its exit status, negative for a signal.

    Example:
        >>> describe_end(1)
        'ended with exit status 1 (its message is above)'
    """
    if status == -signal.SIGKILL:
        return _KILLED_BY_SYSTEM
    if status < 0:
        return f"was killed ({signal.Signals(-status).name})"
    return f"ended with exit status {status} (its message is above)"


@contextlib.contextmanager
def naming_deaths() -> Iterator[None]:
    """Raise what PyTorch says of a dead loading process as a ``UserError`` that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if (told := describe_death(error)) is None:
            raise
        raise UserError(told) from error
