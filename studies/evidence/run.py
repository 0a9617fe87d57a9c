"""Running a part in the time it is given: how long its runs are, and going on where it stopped."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from spanetv2.benchmark.timing import threads
from spanetv2.environment import describe_environment
from spanetv2.errors import UserError
from spanetv2.training.run_folder import RunLock
from studies.evidence.jobs import Job, in_turn, side_by_side
from studies.evidence.part import Condition, Context, Part
from studies.evidence.store import Store
from studies.evidence.train import train
from studies.evidence.tuning import chosen_rates

__all__ = ["affordable_updates", "run_part"]

FOR_TRAINING = 0.7
"""Share of the time that goes into updates; the rest is for tests and measurements."""
SHORTEST = 50
"""Updates below which a run says nothing."""
_TRIAL = 4


def run_part(
    part: Part,
    context: Context,
    out: Path,
    *,
    minutes: float | None = None,
    updates: int | None = None,
    conditions: Sequence[Condition] | None = None,
    seeds: Sequence[int] | None = None,
    workers: int = 1,
    progress: bool = False,
) -> Store:
    """Make the runs of a part that are not there yet, as many as the time allows.

    The length of the runs is decided once: ``updates``, or what ``minutes`` allow for all runs of
    the part, at most the scale's. It stands in the part's ``about.json``, and later calls keep it.
    After ``minutes`` no further run is begun.

    Args:
        part: the question.
        context: scale and device.
        out: folder with one folder per part.
        minutes: time for this call; None is no limit.
        updates: length of the runs.
        conditions: only these; all by default.
        seeds: instead of the part's.
        workers: runs side by side, on a CPU.
        progress: show a bar.

    Returns:
        The part's tables as they are now.

    Raises:
        UserError: runs with other settings are in the folder, another process works there, the
            time is too short for the part, or several workers are asked for on a GPU.
    """
    if workers > 1 and (context.device != "cpu" or context.vectorised):
        raise UserError(
            f"got {workers} workers, expected 1 where all seeds of a row are trained at once"
        )
    start = time.monotonic()
    with RunLock(out / part.name) as lock:
        lock.take()
        store = Store(out / part.name, part.keys)
        whole = part.conditions(context.scale)
        wanted = whole if conditions is None else list(conditions)
        numbers = tuple(part.seeds(context.scale) if seeds is None else seeds)
        context = replace(context, chosen=_chosen(out, context))
        known = store.about.get("settings", {}).get("updates")
        length = updates or known
        if length is None and minutes is not None:
            everything = len(part.seeds(context.scale))
            length = affordable_updates(part, context, whole, everything, minutes * workers)
        length = length or context.scale.recipe.updates
        context = replace(context, updates=length)
        with threads(1 if context.device == "cpu" else None):
            environment = describe_environment()
        store.keep_about(
            {
                "part": part.name,
                "settings": {"scale": context.scale.name, "updates": length},
                "runs": len(whole) * len(part.seeds(context.scale)),
                "minutes": minutes,
                "commits": [str(environment["commit"])],
                "environment": environment,
            }
        )
        end = None if minutes is None else start + 60 * minutes
        jobs = list(_jobs(store, wanted, numbers, together=context.vectorised))
        with tqdm(
            total=length * len(jobs), unit="update", dynamic_ncols=True, disable=not progress
        ) as bar:
            if workers > 1:
                made = side_by_side(part, context, jobs, workers, end=end, advance=bar.update)
            else:
                made = in_turn(part, context, jobs, end=end, advance=bar.update)
            for tables in made:
                store.add(tables)
        return store


def _chosen(out: Path, context: Context) -> dict[str, tuple[float, float]]:
    """Rates that were tuned at this scale, from the folder of the part ``tuning`` beside."""
    from studies.evidence.tuning import Tuning

    store = Store(out / Tuning.name, Tuning.keys)
    if store.about.get("settings", {}).get("scale") != context.scale.name:
        return {}
    whole = len(context.scale.rates) * len(context.scale.decays)
    counted: dict[str, int] = {}
    for run in store.runs:
        counted[run["row"]] = counted.get(run["row"], 0) + 1
    best = chosen_rates(store.tables)
    return {row: best[row] for row, count in counted.items() if count >= whole}


def _jobs(
    store: Store, conditions: Sequence[Condition], seeds: tuple[int, ...], *, together: bool
) -> list[Job]:
    """What is left to do: a row's seeds at once, or every condition of a seed, then the next."""
    left = [(c, tuple(s for s in seeds if not store.has(c, s))) for c in conditions]
    if together:
        return [(condition, numbers) for condition, numbers in left if numbers]
    return [(c, (seed,)) for seed in seeds for c, numbers in left if seed in numbers]


def affordable_updates(
    part: Part, context: Context, conditions: Sequence[Condition], seeds: int, minutes: float
) -> int:
    """The length of a part's runs for which its time suffices, at most the scale's.

    A few updates of every kind of network are timed, with one thread or the GPU as it will be, and
    with whatever else the machine does; 70 % of the time go into updates.

    Args:
        part: the question.
        context: scale and device.
        conditions: of the part.
        seeds: of every condition.
        minutes: for all of it, times the runs that go side by side.

    Raises:
        UserError: the time is too short for runs of 50 updates.
    """
    seconds: dict[str, float] = {}
    total = 0.0
    for condition in conditions:
        kind = condition.get("row") or condition["variant"]
        if kind not in seconds:
            seconds[kind] = _seconds_per_update(part, context, condition)
        total += seconds[kind] * seeds
    found = int(FOR_TRAINING * 60 * minutes / total)
    if found < SHORTEST:
        needed = SHORTEST * total / (FOR_TRAINING * 60)
        raise UserError(
            f"got {minutes:g} minutes for part {part.name}, expected at least {needed:.0f} for "
            f"runs of {SHORTEST} updates on this machine"
        )
    return min(found, context.scale.recipe.updates)


def _seconds_per_update(part: Part, context: Context, condition: Condition) -> float:
    timed = replace(context, updates=_TRIAL, vectorised=False, compiled=False)
    images = part.images(condition, timed).to(context.device)
    stack = timed.stack(part.make(condition, timed), (0,))
    recipe = part.recipe(condition, timed)
    marks: list[float] = []

    def mark(*_: object) -> None:
        if context.device == "cuda":
            torch.cuda.synchronize()
        marks.append(time.perf_counter())

    with threads(1 if context.device == "cpu" else None):
        train(stack, images, recipe, watch=mark, every=1)
    return (marks[-1] - marks[1]) / (len(marks) - 2)  # the first one warms up
