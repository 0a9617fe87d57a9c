"""Running a plan: several runs side by side, each in a process of its own."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import spanetv2
import studies
from spanetv2.errors import UserError
from spanetv2.files import write_json
from studies.mixers.plan import Plan, Run, run_config, settings
from studies.mixers.worker import JOB, RESULT

__all__ = ["run_plan"]

_POLL = 0.5  # seconds
_LOG, _SCENES = "log.txt", "scenes"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_plan(
    plan: Plan, out: Path, *, data: str | None = None, device: str = "cpu", progress: bool = False
) -> list[Path]:
    """Train and measure every run of a plan.

    Runs that are finished stay as they are; interrupted ones go on where they stopped.

    Args:
        plan: what to run.
        out: folder with one folder per run.
        data: folder of the data set; None where the reader looks by itself, and for scenes that
            are made here, in ``out``.
        device: cpu or cuda.
        progress: show a bar.

    Returns:
        The folders of the runs.

    Raises:
        UserError: a run failed (the others are finished first), or the folder holds a run of the
            same name with other settings.
    """
    from tqdm import tqdm

    if plan.task == "segmentation" and data is None:
        data = str(_scenes(out / _SCENES, progress=progress))
    runs = plan.runs()
    folders = {run.name: out / run.name for run in runs}
    waiting = [run for run in runs if _prepare(run, folders[run.name], data, device)]
    failed: list[str] = []
    with (
        tqdm(total=len(runs), unit="run", dynamic_ncols=True, disable=not progress) as bar,
        _children() as running,
    ):
        bar.update(len(runs) - len(waiting))
        while waiting or running:
            while waiting and len(running) < plan.jobs:
                run = waiting.pop(0)
                running[run.name] = _start(folders[run.name], plan.threads)
            time.sleep(_POLL)
            for name, process in list(running.items()):
                if process.poll() is not None:
                    del running[name]
                    bar.update()
                    if process.returncode:
                        failed.append(name)
            bar.set_postfix_str(", ".join(_progress(folders[name]) for name in running))
    if failed:
        first = folders[failed[0]]
        raise UserError(
            f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}; {first / _LOG} ends "
            f"with: {_last_line(first / _LOG)}"
        )
    return list(folders.values())


def _scenes(folder: Path, *, progress: bool) -> Path:
    """The built-in scenes, made where they are not there yet."""
    from spanetv2.scenes import write_scenes

    if not folder.is_dir():
        write_scenes(folder, train=2000, val=200, progress=progress)
    return folder


def _prepare(run: Run, folder: Path, data: str | None, device: str) -> bool:
    """Write what is to be done; False if it is done already."""
    config = run_config(run, out=str(folder), data=data, device=device)
    job: dict[str, Any] = {
        "task": run.plan.task,
        "facts": run.facts(),
        "config": config,
        "measure": {
            "dataset": config["data"]["dataset"],
            "root": data,
            "filtered_images": run.plan.filtered_images,
            "probe_images": run.plan.probe_images,
            "device": device,
        },
    }
    if (folder / JOB).is_file():
        known = json.loads((folder / JOB).read_text(encoding="utf-8"))
        if settings(known) != settings(json.loads(json.dumps(job))):
            raise UserError(
                f"{folder} holds a run with other settings; choose another folder with --out"
            )
    write_json(folder / JOB, job)
    return not (folder / RESULT).is_file()


def _start(folder: Path, threads: int) -> "subprocess.Popen[bytes]":
    sources = [
        str(Path(module.__file__ or "").resolve().parents[1]) for module in (spanetv2, studies)
    ]
    environment = {
        **os.environ,
        **dict.fromkeys(_THREADS, str(threads)),
        "PYTHONPATH": os.pathsep.join([*sources, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    with (folder / _LOG).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - this study, in this interpreter
            [sys.executable, "-m", "studies.mixers.worker", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
        )


@contextmanager
def _children() -> "Iterator[dict[str, subprocess.Popen[bytes]]]":
    """Processes by name; asked to save and stop when the block is left, however it is left."""
    running: dict[str, subprocess.Popen[bytes]] = {}

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield running
    finally:
        for process in running.values():
            with suppress(ProcessLookupError):
                process.terminate()
        for process in running.values():
            process.wait()
        signal.signal(signal.SIGTERM, before)


def _progress(folder: Path) -> str:
    """Name of a run and the last update in its log."""
    with suppress(OSError, csv.Error):
        lines = (folder / "logs" / "metrics.csv").read_text(encoding="utf-8").splitlines()
        if len(lines) > 1:
            return f"{folder.name} {lines[-1].partition(',')[0]}"
    return folder.name


def _last_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "nothing"
