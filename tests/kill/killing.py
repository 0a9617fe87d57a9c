"""Kill a run at random moments until it is finished, and compare it with one that was left alone.

Every attempt is a fork of a process that has imported everything, so that moments fall into the
run and not into imports. Forking needs a system that can, and a parent that has not computed yet.
"""

import csv
import dataclasses
import hashlib
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

import lightning.pytorch  # noqa: F401, isort: skip - so that forks need not
import spanetv2.training.run  # noqa: F401, isort: skip
from spanetv2.cli.train import main

__all__ = ["Figures", "differences", "kill_run", "start", "wait"]

_RESUMED = re.compile(r"resuming from .*, after update ([\d,]+)")
_LEFT = 30.0
"""Seconds that processes of a killed run may go on."""


@dataclasses.dataclass
class Figures:
    """What became of the kills.

    Attributes:
        kills: processes killed while they ran.
        whole_groups: how many of them together with their loading processes.
        runs: runs finished and compared.
        moments: kills by what the run was doing.
        lost: kills after which a run did not go on from its newest checkpoint.
        different: files that differ from the run that was left alone, as text.
        left: files or processes that a finished run left behind.
    """

    kills: int = 0
    whole_groups: int = 0
    runs: int = 0
    moments: Counter[str] = dataclasses.field(default_factory=Counter)
    lost: list[str] = dataclasses.field(default_factory=list)
    different: list[str] = dataclasses.field(default_factory=list)
    left: list[str] = dataclasses.field(default_factory=list)

    def text(self) -> str:
        """In a few lines."""
        moments = ", ".join(f"{count} {what}" for what, count in self.moments.most_common())
        lines = [
            f"{self.kills} kills ({self.whole_groups} of the loading processes too): {moments}",
            f"{self.runs} runs finished: {len(self.lost)} lost, {len(self.different)} different, "
            f"{len(self.left)} leftovers",
        ]
        return "\n".join([*lines, *self.lost, *self.different, *self.left])


def start(arguments: list[str], log: Path) -> int:
    """Begin ``spanetv2 train`` in a process group of its own; gives the process."""
    child = os.fork()
    if child:
        return child
    status = 70
    try:
        os.setpgid(0, 0)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        torch.set_num_threads(1)
        status = main(arguments)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(child: int, seconds: float | None = None) -> int | None:
    """Wait for a process.

    Returns:
        Its exit status, negative for a signal; None if it runs on.
    """
    end = None if seconds is None else time.monotonic() + seconds
    while end is None or time.monotonic() < end:
        done, status = os.waitpid(child, 0 if end is None else os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def kill_run(
    arguments: list[str],
    reference: Path,
    folder: Path,
    *,
    seconds: float,
    most: int,
    chance: random.Random,
    figures: Figures,
) -> None:
    """Kill a run again and again until it is finished, and compare.

    Args:
        arguments: of ``spanetv2 train``, but for the run folder.
        reference: folder of the run that was left alone.
        folder: where to.
        seconds: that it took.
        most: kills, after which the run is left alone.
        chance: for moments.
        figures: added to.
    """
    log = folder.with_suffix(".log")
    left_to_kill, before = most, 0
    for attempt in range(10 * most + 10):
        resume = ["--resume"] if attempt else []
        workers = f"--data.workers={chance.choice((0, 0, 1, 2))}"
        child = start([*arguments, f"--out={folder}", workers, *resume], log)
        # towards the beginning, so that a run is killed more than once
        moment = seconds * chance.random() ** 1.5 if left_to_kill else None
        status = wait(child, moment)
        text = log.read_text(errors="replace")
        at = _place(text, before)
        if before and not at >= before:
            figures.lost.append(f"{folder}: went on from update {at}, {before} was saved")
        if status is None:
            figures.kills += 1
            left_to_kill -= 1
            everybody = chance.random() < 0.5
            (os.killpg if everybody else os.kill)(child, signal.SIGKILL)
            wait(child)
            figures.whole_groups += everybody
            if still := _still_there(child):
                figures.left.append(f"{folder}: processes {still} live on")
            figures.moments[_doing(text, folder)] += 1
            before = _saved(folder)
        elif status:
            last = text.strip().splitlines()[-1:]
            figures.lost.append(f"{folder}: exit status {status}: {last}")
            break
        else:
            break
    figures.runs += 1
    figures.different += [f"{folder}: {what}" for what in differences(reference, folder)]
    figures.left += [
        f"{path} is left" for path in folder.rglob("*") if ".part" in path.name and path.is_file()
    ]


def differences(a: Path, b: Path) -> list[str]:
    """What differs between two finished runs, but for times."""
    found = []
    for name in ("weights.safetensors",):
        if _hash(a / name) != _hash(b / name):
            found.append(f"{name}: other bytes")
    for name in ("last.ckpt", "best.ckpt"):
        first, second = (_state(folder / "checkpoints" / name) for folder in (a, b))
        if not _same(first, second):
            found.append(f"{name}: another state")
    if _rows(a) != _rows(b):
        found.append("metrics.csv: other rows")
    if _metrics(a) != _metrics(b):
        found.append("metrics.json: other figures")
    return found


# -------------------------------------------------------------------------------------------------


def _place(log: str, before: int) -> int:
    """The update that an attempt went on from; ``before`` where it had not said so yet."""
    if found := _RESUMED.search(log):
        return int(found[1].replace(",", ""))
    return 0 if "starting from the beginning" in log else before


def _saved(folder: Path) -> int:
    for name in ("last.ckpt", "last-previous.ckpt"):
        path = folder / "checkpoints" / name
        if path.is_file():
            return int(torch.load(path, weights_only=True, mmap=True)["global_step"])
    return 0


def _doing(log: str, folder: Path) -> str:
    if any(".part" in path.name for path in folder.rglob(".*")):
        return "while a file was written"
    if (folder / "weights.safetensors").is_file():
        return "after the weights"
    if "model:" not in log:
        return "while the run was prepared"
    return "in training"


def _still_there(group: int) -> list[int]:
    """Processes of a group that outlive their run by more than some seconds."""
    end = time.monotonic() + _LEFT
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return []
        time.sleep(0.05)
    return [group]


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


def _state(path: Path) -> Any:
    if not path.is_file():
        return None
    content = torch.load(path, weights_only=True)
    content["callbacks"].pop("TrainingLog", None)  # seconds
    record = json.loads(content.pop("spanetv2_run"))
    record["config"].pop("out")
    record["config"]["data"].pop("workers")
    return {**content, "record": record}


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_same(*pair) for pair in zip(a, b, strict=True))
    return a == b


def _rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "logs" / "metrics.csv").open(newline="") as stream:
        return [
            {k: v for k, v in row.items() if k != "train/images_per_second"}
            for row in csv.DictReader(stream)
        ]


def _metrics(folder: Path) -> Any:
    values = json.loads((folder / "metrics.json").read_text())

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: timeless(v) for k, v in value.items() if "second" not in k}
        return value

    return timeless(values)
