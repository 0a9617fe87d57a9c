"""Processes that a command starts: they end with it, and their deaths are told in words."""

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from spanetv2.errors import UserError

__all__ = [
    "FROM_INSIDE",
    "MOST_WORKERS",
    "begin_worker",
    "describe_death",
    "describe_end",
    "end_with_parent",
    "naming_deaths",
]

MOST_WORKERS = 512
"""Loading processes; each takes some 100 MB, and more are a slip of the keyboard."""

_INTERVAL = 1.0
"""Seconds between two looks at whether the parent is there."""

_KILLED = re.compile(
    r"worker.*\((?:pid|pid\(s\)) ([\d, ]+)\)(?: is killed by signal: (\w[\w ]*)| exited unexpect)"
)

FROM_INSIDE = "Caught "
"""How PyTorch begins what it says of an error that a living worker met."""

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


def describe_death(error: BaseException, workers: Sequence[BaseProcess] = ()) -> str | None:
    """A line about the death of a loading process; None for other errors.

    Args:
        error: what PyTorch's loader raised, wherever it did: it may be amid other work.
        workers: the loading processes, where they are known. A tensor that was on its way when one
            died fails in other words, and which signal it was is not always in the error.
    """
    text = str(error)
    found = _KILLED.search(text) if isinstance(error, RuntimeError) else None
    name = ((found and found[2]) or "").strip()
    numbers = found[1] if found else ""
    if workers and not name and not text.startswith(FROM_INSIDE):
        ending = wait([worker.sentinel for worker in workers], timeout=_INTERVAL)
        for worker in workers:
            if worker.sentinel in ending:
                worker.join()
        dead = {w.pid: w.exitcode for w in workers if w.exitcode}
        numbers = numbers or ", ".join(map(str, dead))
        name = next((signal.strsignal(-end) or str(-end) for end in dead.values() if end < 0), "")
    if not numbers:
        return None
    if name.startswith("Bus error"):
        return (
            f"a loading process ({numbers}) found no shared memory; raise its limit (docker run "
            "--shm-size 8g), or lower --data.workers (--workers)"
        )
    how = f"was killed ({name})" if name else "ended without a word"
    if name == "Killed":
        how = _KILLED_BY_SYSTEM
    return (
        f"a loading process ({numbers}) {how}; use fewer (--data.workers, --workers) or smaller "
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
def naming_deaths(workers: Callable[[], Sequence[BaseProcess]] = tuple) -> Iterator[None]:
    """Raise what PyTorch says of a dead loading process as a ``UserError`` that says what to do.

    Args:
        workers: gives the loading processes.
    """
    try:
        yield
    except (RuntimeError, OSError, EOFError) as error:
        try:
            told = describe_death(error, workers())
        except RuntimeError as report:  # PyTorch's, which comes when the system sends word
            told = describe_death(report, workers())
        if told is None:
            raise
        raise UserError(told) from error
