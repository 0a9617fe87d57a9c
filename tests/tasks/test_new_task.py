"""A task from outside the package trains, resumes, is evaluated and predicts by the commands."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import spanetv2

HERE = Path(__file__).resolve().parent
SCRIPT = HERE / "number_task.py"
STOPPER = HERE.parent / "training"
OPTIONS = ("--trainer.max_epochs=3", "--checkpoints.every_steps=1", "--schedule.name=constant")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command of a process that has registered the task."""
    path = os.pathsep.join([str(STOPPER), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey images whose number is their brightness."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 5)):
        (root / split).mkdir()
        rows = []
        for i in range(count):
            grey = rng.integers(0, 256, (6, 6), dtype=np.uint8)
            grey //= np.uint8(i % 3 + 1)
            Image.fromarray(grey).save(root / split / f"{i}.png")
            rows.append(f"{i}.png,{grey.mean() / 255}\n")
        (root / split / "numbers.csv").write_text("".join(rows))
    return root


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("runs") / "finished"
    result = run("train", "number", "--data", data, "--out", out, *OPTIONS)
    assert result.returncode == 0, result.stderr
    return out


def test_it_resumes_after_a_kill_as_if_nothing_had_happened(data, finished, tmp_path):
    killer = {"class_path": "stopper.Stopper", "init_args": {"batch": 5}}
    arguments = ("train", "number", "--data", data, "--out", tmp_path / "run", *OPTIONS)
    killed = run(*arguments, f"--trainer.callbacks={json.dumps([killer])}")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "run" / "weights.safetensors").exists()
    resumed = run(*arguments, "--resume", "--trainer.callbacks=null")
    assert resumed.returncode == 0, resumed.stderr
    assert "after update 5" in resumed.stderr
    states = [
        torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for out in (finished, tmp_path / "run")
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_it_is_evaluated_and_predicts(data, finished, tmp_path):
    metrics = json.loads((finished / "metrics.json").read_text())
    out = tmp_path / "figures.json"
    result = run("evaluate", finished, "--data", data, "--json", out)
    assert result.returncode == 0, result.stderr
    # images are brightened a little at random, from another seed
    assert json.loads(out.read_text())["loss"] == pytest.approx(metrics["loss"], abs=1e-3)
    assert "5 images, mean error 0." in result.stdout
    (data / "val" / "bad.png").write_bytes(b"")
    result = run("predict", finished, data / "val", "--digits", 3)
    (data / "val" / "bad.png").unlink()
    assert result.returncode == 1
    assert f"error: {data}/val/bad.png: an empty file" in result.stderr
    assert "5 numbers, 1 problems" in result.stderr
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [Path(path).name for path, _ in lines] == [f"{i}.png" for i in range(5)]
    assert all(len(number.partition(".")[2]) == 3 for _, number in lines)


def test_what_it_lacks_is_one_clear_line(data, finished, tmp_path):
    for arguments, message in (
        (("check-data", "number", data), "there is no data check for number yet"),
        (("export", finished, "--out", tmp_path / "n.onnx"), "there is no export for number yet"),
        (("analyze", "model", finished, "--dataset", "digits"), "there is no analysis for number"),
        (("predict", finished, data, "--top-k", 3), "--top-k, which is for classification"),
    ):
        result = run(*arguments)
        assert result.returncode == 1
        assert message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert not list(tmp_path.iterdir())


def test_the_commands_list_it():
    assert "Number: digits after the point" in " ".join(run("predict", "--help").stdout.split())
    assert "number" in run("train", "--help").stdout
    assert "expected classification, segmentation, detection or number" in (
        run("train", "fly").stderr
    )


def test_a_process_without_it_says_so(finished, data):
    with pytest.raises(spanetv2.UserError, match="got task 'number', expected classification"):
        spanetv2.predict(finished, data)


def test_nothing_in_the_package_knows_it():
    source = Path(spanetv2.__file__).resolve().parent
    assert not [p for p in source.rglob("*.py") if "number_task" in p.read_text(encoding="utf-8")]
