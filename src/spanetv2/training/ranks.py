"""The processes of a run on several devices: when one of them dies, all end, with one line."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch.distributed
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from spanetv2.errors import UserError
from spanetv2.processes import describe_end, end_with_parent

__all__ = ["RankLauncher", "ending_together", "follow_first", "keeping_place"]

_PLACE = ("LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""Environment variables that say which process of a run this one is, and where they meet."""

_INTERVAL = 0.5
_GRACE = 10.0
"""Seconds for a process to end by itself: with a message of its own, or as the others do."""

_LOST = re.compile(r"(?i)gloo|nccl|connection (closed|reset|refused)|socket|broken pipe|store")


class RankLauncher(_SubprocessScriptLauncher):
    """Starts the other processes of a run on this machine, and watches them.

    Lightning's own watch kills this process too, without a word; this one tells which process
    died, how, and what to do.

    Args:
        launcher: Lightning's, whose place this one takes.

    Attributes:
        how_to_go_on: told after the death.
    """

    def __init__(self, launcher: _SubprocessScriptLauncher):
        super().__init__(launcher.cluster_environment, launcher.num_processes, launcher.num_nodes)
        self.how_to_go_on: Callable[[], str] = str
        self._ranks: list[subprocess.Popen[bytes]] = []
        self._found = threading.Event()
        self._over = threading.Event()
        self._told = ""

    def _call_children_scripts(self) -> None:
        super()._call_children_scripts()
        # Lightning watches those in ``procs``: none
        self._ranks, self.procs = self.procs, []
        threading.Thread(target=self._watch, name="rank-watch", daemon=True).start()

    def kill(self, signum: Any) -> None:
        """Send a signal to the other processes."""
        for process in self._ranks:
            process.send_signal(signum)

    def finish(self, *, seconds: float | None = None) -> None:
        """Watch no more; with a number, what has not ended by itself after so long is killed."""
        self._over.set()
        if seconds is None:
            return
        end = time.monotonic() + seconds
        while any(process.poll() is None for process in self._ranks) and time.monotonic() < end:
            time.sleep(_INTERVAL / 10)
        self.kill(signal.SIGKILL)

    def death(self, *, seconds: float) -> str | None:
        """What to say of the process that died; None if none of those on this machine did.

        Args:
            seconds: to wait for it.
        """
        if not self._ranks or not self._found.wait(seconds):
            return None
        return f"{self._told}; {self.how_to_go_on()}"

    def _watch(self) -> None:
        while not (ended := [process for process in self._ranks if process.poll()]):
            if self._over.wait(_INTERVAL):
                return
        dead = min(ended, key=lambda process: process.returncode)  # by a signal, where one was
        first = self.cluster_environment.node_rank() * self.num_processes
        self._told = (
            f"process {first + self._ranks.index(dead) + 2} of "
            f"{self.num_processes * self.num_nodes} of the run ({dead.pid}) "
            f"{describe_end(dead.returncode)}, and the others were stopped"
        )
        self._found.set()
        # The connection to it breaks, or hangs, depending on what carries it.
        if not self._over.wait(_GRACE):
            print(f"error: {self.death(seconds=0)}", file=sys.stderr, flush=True)
            self.kill(signal.SIGKILL)
            os._exit(1)


def follow_first(how_to_go_on: Callable[[], str]) -> None:
    """In a process that a run's first or a launcher started: end with that one.

    Args:
        how_to_go_on: told by one of those that see the first one of the run die.
    """

    def tell() -> None:
        if os.environ["LOCAL_RANK"] == "1":
            told = f"the process that started the others of the run was killed; {how_to_go_on()}"
            print(f"error: {told}", file=sys.stderr, flush=True)

    end_with_parent(tell)


@contextlib.contextmanager
def keeping_place() -> Iterator[None]:
    """Leave this process's environment as it was before the block.

    Lightning leaves the variables of a run in it, by which the next run in this process, or a
    command started by it, would take itself for one that waits for others.
    """
    before = {name: os.environ.get(name) for name in _PLACE}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def ending_together(trainer: Trainer, how_to_go_on: Callable[[], str]) -> Iterator[None]:
    """Let the processes of a run end together in this block, and say why they do.

    Args:
        trainer: of the run.
        how_to_go_on: told after a death.

    Raises:
        UserError: another process of the run died, or the port to meet at is taken.
    """
    alone = not torch.distributed.is_initialized()
    launcher = trainer.strategy.launcher
    ours = launcher if isinstance(launcher, RankLauncher) else None
    if ours is not None:
        ours.how_to_go_on = how_to_go_on
    grace = _GRACE
    try:
        yield
        grace = None
    except RuntimeError as error:
        if "address already in use" in str(error).lower() or "EADDRINUSE" in str(error):
            raise UserError(
                f"port {os.environ.get('MASTER_PORT')}, at which the processes of the run would "
                "meet, is in use on this machine; unset MASTER_PORT, or set it to a free one"
            ) from error
        if trainer.world_size == 1 or not _LOST.search(str(error)):
            raise
        grace = 0
        follows = ours is not None and isinstance(ours.cluster_environment, LightningEnvironment)
        if follows and trainer.local_rank:
            time.sleep(2 * _GRACE)  # the first process tells, and ends this one
        told = None if ours is None else ours.death(seconds=_GRACE)
        raise UserError(
            told
            or "the connection to another process of the run is lost, which has probably died "
            f"(its messages say more); {how_to_go_on()}"
        ) from error
    finally:
        if ours is not None:
            ours.finish(seconds=grace)
        # Lightning keeps the group of a single process, and its port, until the process ends.
        if alone and trainer.world_size == 1 and torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()
