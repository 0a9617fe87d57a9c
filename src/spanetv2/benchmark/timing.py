"""Timing in turns: in every round each candidate runs once, in an order that rotates.

So a slower moment of the machine hits all of them alike, and the ratio of two candidates in the
same round says more than the ratio of two times.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch

__all__ = ["Step", "interleave", "speed_ratio", "summary", "threads", "timed", "wait"]

Key = TypeVar("Key")


class Step(NamedTuple):
    """Something to time."""

    run: Callable[[], Any]
    tidy: Callable[[], Any]
    """called after each run, outside the time"""
    parameters: int
    repeats: int = 1
    """runs per timing; short ones are measured in bundles"""


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Compute with so many CPU threads for a while; None leaves them as they are."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def wait(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def timed(step: Step, device: str) -> float:
    """Seconds of one run."""
    wait(device)
    start = time.perf_counter()
    for _ in range(step.repeats):
        step.run()
    wait(device)
    seconds = (time.perf_counter() - start) / step.repeats
    step.tidy()
    return seconds


def interleave(
    steps: Mapping[Key, Step],
    *,
    rounds: int,
    warmup: int,
    device: str,
    progress: Callable[[], Any] = lambda: None,
) -> dict[Key, list[float]]:
    """Seconds of every step in every round.

    Args:
        steps: what to time, by name.
        rounds: timings of each.
        warmup: runs of each before the first round.
        device: where they run.
        progress: called after every warm-up and every timing.

    Returns:
        For every name as many times as rounds; the n-th ones were taken in the same round.
    """
    for step in steps.values():
        for _ in range(warmup):
            timed(step, device)
            progress()
    seconds: dict[Key, list[float]] = {name: [] for name in steps}
    names = list(steps)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            seconds[name].append(timed(steps[name], device))
            progress()
    return seconds


def summary(seconds: Sequence[float]) -> dict[str, Any]:
    """Median and quartiles of times.

    Example:
        >>> summary([3.0, 1.0, 2.0])
        {'median_s': 2.0, 'quartiles_s': [1.0, 3.0], 'seconds': [3.0, 1.0, 2.0]}
    """
    quarters = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else [seconds[0]] * 3
    return {
        "median_s": statistics.median(seconds),
        "quartiles_s": [quarters[0], quarters[2]],
        "seconds": list(seconds),
    }


def speed_ratio(seconds: Sequence[float], reference_seconds: Sequence[float]) -> float:
    """How many times as fast as a reference: the median over the rounds of its seconds over ours.

    Example:
        >>> speed_ratio([1.0, 2.0, 1.0], [2.0, 4.0, 3.0])
        2.0
    """
    return statistics.median(
        theirs / ours for ours, theirs in zip(seconds, reference_seconds, strict=True)
    )
