"""What version 0.1.0 saved can be read, and its runs go on and end where they would have ended.

The files and what made them are in ``tests/data/version_0_1_0``. The command runs in a process of
its own: these tests know files and options, and no module of the package.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import torch

from spanetv2.models.weights import read_checkpoint

FILES = Path(__file__).resolve().parents[1] / "data" / "version_0_1_0"
MADE: dict[str, Any] = json.loads((FILES / "made.json").read_text())
RUNS = ("stopped", "finished")
TASKS = ("classification", "segmentation", "detection")
FIGURES = {
    "classification": ("top1", "top5", "loss"),
    "segmentation": ("miou", "pixel_accuracy", "mean_accuracy"),
    "detection": ("box_ap", "box_ap50", "mask_ap", "mask_ap50"),
}


TOLERANCE = 0.05
"""Of ``deviation``: above what processors make, below what any loss on resuming makes.

Measured with these files: 0 on the processor that made them; with kernels of the oldest kind
instead (ATEN_CPU_CAPABILITY=default, ONEDNN_MAX_CPU_ISA=SSE41, MKL_CBWR=COMPATIBLE) 1e-6 in
classification, 6e-4 in segmentation, 4e-3 in detection; without the optimiser's state 0.83, 0.91
and 2.4; without the place in the data 0.38, 0.55 and 0.27.
"""


def command(folder: Path, *arguments: str) -> None:
    """Run ``spanetv2`` in a folder, on one thread and without a GPU."""
    program = Path(sysconfig.get_path("scripts")) / "spanetv2"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(program), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the runs had it: the scenes in it."""
    folder = tmp_path_factory.mktemp("version_0_1_0")
    command(folder, "scenes", "scenes", *MADE["scenes"])
    return folder


def deviation(task: str, run: Path) -> float:
    """How far a resumed run ends from where 0.1.0 ended, in units of the way it had to go.

    The median over the network's tensors: each changes at a scale of its own.
    """
    stopped, finished = (read_checkpoint(FILES / task / f).state_dict for f in RUNS)
    resumed = read_checkpoint(run).state_dict
    assert resumed.keys() == finished.keys()
    shares = []
    for name, end in finished.items():
        if end.is_floating_point():
            way = (end - stopped[name]).norm()
            assert way > 0, name
            shares.append((resumed[name] - end).norm() / way)
        else:
            assert torch.equal(resumed[name], end), name
    return float(torch.stack(shares).median())


def log(folder: Path) -> dict[int, list[float]]:
    """Learning rate and loss by update."""
    with (folder / "logs" / "metrics.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["train/loss"]]
    steps = [int(row["step"]) for row in rows]
    assert steps == list(range(1, len(rows) + 1))
    return {
        step: [float(row["lr"]), float(row["train/loss"])]
        for step, row in zip(steps, rows, strict=True)
    }


def figures(task: str, path: Path) -> dict[str, Any]:
    """What a JSON file says about the quality of the task's answers."""
    content = json.loads(path.read_text())
    return {name: content[name] for name in FIGURES[task]}


@pytest.mark.parametrize("task", TASKS)
def test_a_run_resumes_and_ends_as_under_0_1_0(task: str, workplace: Path) -> None:
    run = workplace / task / "resumed"
    shutil.copytree(FILES / task / "stopped", run)
    # max_steps, which stopped the run, is in its configuration
    command(workplace, "train", task, "--resume", f"--out={run}", "--trainer.max_steps=-1")
    finished = FILES / task / "finished"
    assert deviation(task, run) < TOLERANCE
    written, expected = log(run), log(finished)
    assert written.keys() == expected.keys()
    assert MADE["stopped"][task] < len(expected)
    for step, (rate, loss) in expected.items():
        assert written[step] == [pytest.approx(rate, rel=1e-4), pytest.approx(loss, abs=0.02)], step
    ends = [folder / "metrics.json" for folder in (run, finished)]
    assert figures(task, ends[0]) == pytest.approx(figures(task, ends[1]), abs=0.01)
    # the best result lies before the stop (in segmentation after it): it must be remembered
    training, then = (json.loads(end.read_text())["training"] for end in ends)
    best = f"best_{FIGURES[task][0]}"
    place = "best_update" if task == "segmentation" else "best_epoch"
    assert training[best] == pytest.approx(then[best], abs=0.002)
    assert [training[key] for key in (place, "updates", "weights_of", "averaged")] == [
        then[key] for key in (place, "updates", "weights_of", "averaged")
    ]


@pytest.mark.parametrize("task", TASKS)
def test_weights_and_checkpoint_are_read_as_the_same_model(task: str) -> None:
    weights = read_checkpoint(FILES / task / "stopped")
    saved = read_checkpoint(FILES / task / "stopped" / "checkpoints" / "last.ckpt")
    for checkpoint in (weights, saved):
        assert checkpoint.task == task
        digits = [str(digit) for digit in range(10)]
        assert checkpoint.classes == ["background"] * (task == "segmentation") + digits
        assert checkpoint.preprocessing is not None
    assert (saved.model_name, saved.source) == (weights.model_name, weights.source)
    assert saved.model_kwargs == weights.model_kwargs
    assert saved.state_dict.keys() == weights.state_dict.keys()
    for name, value in weights.state_dict.items():
        assert torch.equal(saved.state_dict[name], value), name


@pytest.mark.parametrize("task", TASKS)
def test_evaluate_gives_the_figures_of_0_1_0(task: str, workplace: Path) -> None:
    data = "--dataset=digits" if task == "classification" else "--data=scenes"
    stopped = FILES / task / "stopped"
    command(workplace, "evaluate", str(stopped), data, f"--json={task}.json", "--device=cpu")
    found = figures(task, workplace / f"{task}.json")
    assert found == pytest.approx(figures(task, stopped / "metrics.json"), abs=0.01)


def test_predict_finds_what_0_1_0_found(workplace: Path) -> None:
    command(workplace, "predict", str(FILES / "detection" / "stopped"), *MADE["predict"])
    rows = json.loads((workplace / "found" / "results.json").read_text())
    scores = sorted((row["score"] for row in rows), reverse=True)
    # the last ones are near the lowest score that is reported
    count = len(MADE["scores"]) // 2
    assert scores[:count] == pytest.approx(MADE["scores"][:count], abs=2e-3)
