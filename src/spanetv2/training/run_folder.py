"""A run's folder: held by one run at a time, and cleared of what runs leave and nothing else."""

import contextlib
import os
import shutil
import socket
import weakref
from pathlib import Path
from types import TracebackType
from typing import IO

from spanetv2.errors import UserError
from spanetv2.files import read_json, remove_partial, write_json
from spanetv2.training.checkpoints import BEST, BROKEN, LAST, PREVIOUS

try:
    import fcntl
except ImportError:  # no such locks on this system: folders are not held
    fcntl = None

__all__ = ["CHECKPOINTS", "LOGS", "RunLock", "clear_run", "refuse_foreign", "remove_leftovers"]

CHECKPOINTS, LOGS = "checkpoints", "logs"
_LOCK, _HOLDER = ".lock", ".lock.json"

_held: "weakref.WeakSet[RunLock]" = weakref.WeakSet()


class RunLock:
    """Holds a run folder against other runs, by a lock of the operating system.

    The lock ends with the process, however that ends. Who holds it stands in a file beside it, for
    messages alone.

    Args:
        folder: of the run.
        here: whether this process is the one of the run that holds it; others do nothing.
    """

    def __init__(self, folder: Path, *, here: bool = True):
        self.folder = folder
        self.here = here and fcntl is not None
        self._file: IO[str] | None = None

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def take(self, *, make: bool = True) -> bool:
        """Hold the folder, or refuse.

        Args:
            make: make the folder and the lock where they are not there; otherwise leave it.

        Returns:
            Whether it was not held before and is now.

        Raises:
            UserError: another run holds it.
        """
        path = self.folder / _LOCK
        if not self.here or self._file is not None or not (make or path.is_file()):
            return False
        assert fcntl is not None
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = path.open("a", encoding="utf-8")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise UserError(
                    f"{self.folder} is in use by {self._holder()}; wait for it, stop it, or choose "
                    "another folder with --out"
                ) from None
            except OSError:  # a file system without locks
                file.close()
                return False
            # a run that has just ended may have removed the file between the two
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                break
            file.close()
        self._file = file
        _held.add(self)
        return True

    def sign(self, started: str) -> None:
        """Leave word of who holds the folder.

        Args:
            started: when this run was.
        """
        if self._file is not None:
            who = {"host": socket.gethostname(), "process": os.getpid(), "started": started}
            write_json(self.folder / _HOLDER, who)

    def release(self) -> None:
        """Let the folder go."""
        if self._file is not None and fcntl is not None:
            for name in (_HOLDER, _LOCK):
                (self.folder / name).unlink(missing_ok=True)
            fcntl.flock(self._file, fcntl.LOCK_UN)
            self.forget()

    def forget(self) -> None:
        """Close the lock's file: in a child, the lock stays its parent's."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _holder(self) -> str:
        try:
            who = read_json(self.folder / _HOLDER, expected="what holds a run")
            return f"process {who['process']} on {who['host']}, started {who['started']}"
        except (OSError, ValueError, LookupError, TypeError):
            return "another run"


def _forget_in_child() -> None:
    """A loading process must not hold its run's folder: it may outlive the run."""
    for lock in list(_held):
        lock.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)


def remove_leftovers(folder: Path) -> None:
    """Remove files that a killed run had not finished writing."""
    for place in (folder, folder / CHECKPOINTS, folder / LOGS):
        remove_partial(place)


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder where a run would replace files that no run left.

    Raises:
        UserError: there are such files.
    """
    if (folder / "versions.json").is_file() or any((folder / CHECKPOINTS).glob("*.ckpt")):
        return
    for name in ("config.yaml", "metrics.json", "weights.safetensors"):
        if (path := folder / name).exists():
            raise UserError(
                f"{path} is not from a run (no versions.json beside it), and a run in {folder} "
                "would replace it; choose another folder with --out"
            )


def clear_run(folder: Path) -> None:
    """Delete what an earlier run left, and no other file."""
    for name in (LAST, PREVIOUS, BEST, BROKEN):
        (folder / CHECKPOINTS / name).unlink(missing_ok=True)
    (folder / LOGS / "metrics.csv").unlink(missing_ok=True)
    for events in (folder / LOGS).glob("events.out.tfevents.*"):
        events.unlink(missing_ok=True)
    for events in (folder / LOGS).glob("*/events.out.tfevents.*"):
        shutil.rmtree(events.parent, ignore_errors=True)
    for name in ("weights.safetensors", "metrics.json", "versions.json"):
        (folder / name).unlink(missing_ok=True)
    for place in (folder / CHECKPOINTS, folder / LOGS):
        with contextlib.suppress(OSError):  # somebody else's files are in it
            place.rmdir()
