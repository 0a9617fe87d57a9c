"""Kill runs of every task at random moments, and print what was lost: ``python -m tests.kill``."""

import argparse
import random
import tempfile
import time
from pathlib import Path

from tests.kill.killing import Figures, kill_run, start, wait
from tests.kill.small_runs import SMALL_RUNS, make_scenes, options_of


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=60, help="in all, over the tasks")
    parser.add_argument("--task", choices=[*SMALL_RUNS, "all"], default="all")
    parser.add_argument("--per-run", type=int, default=6, help="kills of a run")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--option", action="append", default=[], help="another one of spanetv2 train"
    )
    return parser.parse_args()


def run() -> int:
    """Gives the exit status: 1 if anything was lost, different or left behind."""
    wanted = _arguments()
    tasks = list(SMALL_RUNS) if wanted.task == "all" else [wanted.task]
    bad = 0
    with tempfile.TemporaryDirectory(prefix="kill-") as temporary:
        place = Path(temporary)
        child = start([], place / "nothing.log")  # the parent must not compute: it would not fork
        wait(child)
        scenes = place / "scenes"
        if tasks != ["classification"]:
            make_scenes(scenes)
        for number, task in enumerate(tasks):
            kills = wanted.kills // len(tasks) + (number < wanted.kills % len(tasks))
            arguments = [*options_of(task, scenes), *wanted.option]
            bad += _kill_task(task, kills, wanted.per_run, wanted.seed, arguments, place)
    return int(bad > 0)


def _kill_task(
    task: str, kills: int, per_run: int, seed: int, arguments: list[str], place: Path
) -> int:
    reference = place / f"{task}-alone"
    begun = time.monotonic()
    status = wait(start([*arguments, f"--out={reference}"], place / f"{task}-alone.log"))
    seconds = time.monotonic() - begun
    if status:
        print((place / f"{task}-alone.log").read_text())
        return 1
    figures, chance, number = Figures(), random.Random(f"{task} {seed}"), 0
    while figures.kills < kills:
        number += 1
        kill_run(
            arguments,
            reference,
            place / f"{task}-{number}",
            seconds=seconds,
            most=min(per_run, kills - figures.kills),
            chance=chance,
            figures=figures,
        )
        print(f"{task}: {figures.kills} kills, {number} runs", flush=True)
    print(f"{task} (left alone {seconds:.0f} s): {figures.text()}", flush=True)
    return len(figures.lost) + len(figures.different) + len(figures.left)


if __name__ == "__main__":
    raise SystemExit(run())
