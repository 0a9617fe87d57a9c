"""The death of a loading process is told rightly, however PyTorch came to know of it."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from torch.utils.data import Dataset, Sampler

from spanetv2.data.loader import ImageLoader
from spanetv2.errors import UserError
from spanetv2.processes import describe_death, end_with_parent

ADVICE = r"use fewer \(--data.workers, --workers\) or smaller batches, or give more memory"


class Dying(Dataset[int]):
    """Its third item ends the process that reads it."""

    def __init__(self, end: Callable[[], None]):
        self.end = end

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> int:
        if index == 2:
            self.end()
        return index


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _leave() -> None:
    os._exit(3)


def _no_shared_memory() -> None:
    os.kill(os.getpid(), signal.SIGBUS)


class Reaped(Sampler[int]):
    """Another part of the program asks after its children before PyTorch does.

    PyTorch asks when the system says that a child has ended, from before the first index is drawn.
    """

    before: Any = None
    """what the system's word led to until then"""

    def __len__(self) -> int:
        return 8

    def __iter__(self) -> Iterator[int]:
        self.before = signal.signal(
            signal.SIGCHLD, lambda *_: multiprocessing.active_children() and None
        )
        yield from range(8)


@pytest.mark.parametrize(
    ("end", "reaped", "said"),
    [
        (_kill, False, f"was killed by the system, as it does when memory runs out; {ADVICE}"),
        (_kill, True, f"was killed by the system, as it does when memory runs out; {ADVICE}"),
        (_leave, False, f"ended without a word; {ADVICE}"),
        (_no_shared_memory, False, "found no shared memory; raise its limit"),
    ],
)
def test_a_dead_loading_process_is_told_by_how_it_ended(
    end: Callable[[], None], reaped: bool, said: str
) -> None:
    sampler = Reaped() if reaped else None
    loader = ImageLoader(Dying(end), num_workers=1, sampler=sampler)
    try:
        with pytest.raises((UserError, RuntimeError)) as raised:
            list(loader)
    finally:
        if sampler is not None:
            signal.signal(signal.SIGCHLD, sampler.before)
    # PyTorch's own report may come when the loader has been left: what a command makes of it
    told = describe_death(raised.value) or str(raised.value)
    assert re.match(rf"a loading process \(\d+\) {said}", told)


class Marked(Dataset[int]):
    """Its second item is the last that can be read, and says when it is asked for."""

    def __init__(self) -> None:
        self.asked = multiprocessing.Event()

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> int:
        if index == 1:
            self.asked.set()
            _kill()
        return index


def test_a_death_amid_other_work_is_raised_with_the_next_batch() -> None:
    # raised at once, it may leave a lock taken for which the loader's end waits for ever
    dataset = Marked()
    batches = iter(ImageLoader(dataset, num_workers=1, prefetch_factor=1))
    next(batches)
    assert dataset.asked.wait(60)
    asleep_until = time.monotonic() + 2
    while time.monotonic() < asleep_until:
        time.sleep(0.01)
    with pytest.raises(UserError, match=r"a loading process \(\d+\) was killed by the system, as"):
        next(batches)


def test_other_errors_are_no_deaths() -> None:
    assert describe_death(RuntimeError("worker of the month")) is None
    assert (
        describe_death(ValueError("DataLoader worker (pid 3) is killed by signal: Killed. "))
        is None
    )


def test_an_orphan_ends_when_the_process_that_started_it_is_killed() -> None:
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        child = os.fork()
        if child == 0:
            os.close(reader)
            end_with_parent(lambda: os.write(writer, b"told") and None)
            os.write(writer, b"ready ")
            while True:
                time.sleep(60)
        os.waitpid(child, 0)
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 6) == b"ready "
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    rest = b"".join(iter(lambda: os.read(reader, 16), b""))  # until no process writes any more
    os.close(reader)
    assert rest == b"told"


def test_loading_processes_of_a_loader_that_is_still_held_end_with_the_program() -> None:
    # those of a training outlive a first SIGTERM, the only one that they would get
    code = """
from spanetv2.data.loader import ImageLoader
from spanetv2.training.stopping import shield_worker
held = [iter(ImageLoader([0, 1], num_workers=1, worker_init_fn=shield_worker))]
held.append(held)
print(int(next(held[0])))
"""
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False
    )
    assert (found.returncode, found.stdout) == (0, "0\n"), found.stderr
