"""The runs of a part, one after another or, on a CPU, side by side in processes of their own."""

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

import torch

from spanetv2.benchmark.timing import threads
from spanetv2.processes import end_with_parent
from studies.evidence.part import Condition, Context, Part
from studies.evidence.store import Record

__all__ = ["Job", "in_turn", "side_by_side"]

Job = tuple[Condition, tuple[int, ...]]
"""A condition and the seeds that are trained together."""
_Tables = dict[str, list[Record]]


def in_turn(
    part: Part,
    context: Context,
    jobs: Sequence[Job],
    *,
    end: float | None = None,
    advance: Callable[[int], object] = lambda count: None,
) -> Iterator[_Tables]:
    """The tables of every job, one after another in this process; on a CPU with one thread.

    Args:
        part: whose.
        context: where and how.
        jobs: in order.
        end: no job is begun that, as long as the longest before it, would end after this time
            (of ``time.monotonic``).
        advance: called with numbers of updates.
    """
    longest = 0.0
    for job in jobs:
        if end is not None and time.monotonic() + longest > end:
            return
        with threads(1 if context.device == "cpu" else None):
            tables, taken = _make(part, context, job, advance)
        longest = max(longest, taken)
        yield tables


def side_by_side(
    part: Part,
    context: Context,
    jobs: Sequence[Job],
    workers: int,
    *,
    end: float | None = None,
    advance: Callable[[int], object] = lambda count: None,
) -> Iterator[_Tables]:
    """The same as they come, by so many processes of one thread each; see ``in_turn``."""
    left, longest = list(jobs), 0.0
    running: set[Future[tuple[_Tables, float]]] = set()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_settle) as pool:
        while left or running:
            while left and len(running) < workers:
                if end is not None and time.monotonic() + longest > end:
                    left.clear()
                    break
                running.add(pool.submit(_make, part, context, left.pop(0)))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for one in done:
                tables, taken = one.result()
                longest = max(longest, taken)
                advance(sum(run["updates"] for run in tables["runs"]))
                yield tables


def _settle() -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the parent says what there is to say
    torch.set_num_threads(1)


def _make(
    part: Part,
    context: Context,
    job: Job,
    advance: Callable[[int], object] = lambda count: None,
) -> tuple[_Tables, float]:
    """A job's tables and the seconds that it took."""
    condition, seeds = job
    begun = time.monotonic()
    tables = part.run(condition, seeds, context, advance)
    taken = time.monotonic() - begun
    for run in tables["runs"]:
        run["seconds"] = round(taken / len(seeds), 1)
    return tables, taken
