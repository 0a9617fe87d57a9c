"""Two real processes over gloo train like one, and measure every image once."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

# Plain SGD: Adam's first step is the sign of the gradient, which noise in its last bit can turn.
ONE_STEP = (
    "--optimizer.name=sgd",
    "--optimizer.lr=0.1",
    "--schedule.warmup_epochs=0",
    "--trainer.max_steps=1",
    "--trainer.limit_val_batches=1.0",
)


def _last_validation(folder: Path) -> dict[str, str]:
    with (folder / "logs" / "metrics.csv").open(newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["val/loss"]][-1]


def test_two_processes_by_torchrun_take_the_same_step_as_one(runs: Any) -> None:
    one = runs.train("one", *ONE_STEP)
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    result = runs.spawn(
        "two", *ONE_STEP, "--trainer.devices=2", "--trainer.strategy=ddp", launcher=launcher
    )
    assert result.returncode == 0, result.stderr
    assert "batch: 8 per device x 2 devices x 1 accumulated = 16" in result.stderr
    two = runs.folder / "two"
    expected, got = runs.load(one)["state_dict"], runs.load(two)["state_dict"]
    slow = ("--optimizer.lr=1e-12", "--schedule.min_lr=0")
    start = runs.load(runs.train("start", *ONE_STEP, *slow))["state_dict"]
    assert max(float((expected[name] - start[name]).abs().max()) for name in start) > 1e-3
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=1e-5, atol=1e-7)
    assert _last_validation(one)["val/top1"] == _last_validation(two)["val/top1"]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 5)):
        for index in range(count):
            folder = tmp_path / "pictures" / split / ("dark" if index % 2 else "light")
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 128, (32, 32, 3), dtype=np.uint8) + 127 * (1 - index % 2)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{index}.png")
    return tmp_path / "pictures"


def test_two_processes_by_the_trainer_measure_every_image_once(runs: Any, pictures: Path) -> None:
    # 5 validation images, 2 at a time on 2 processes: one of them has a batch more. The network
    # has batch norm, whose statistics DistributedDataParallel synchronises in every forward pass.
    options = [
        f"--data={pictures}",
        "--data.dataset=folder",
        "--model.name=test_resnet",
        "--model.stem_stride=null",
        "--model.drop_path=null",
        "--preprocessing.input_size=[3,32,32]",
        "--preprocessing.mean=[0.5,0.5,0.5]",
        "--preprocessing.std=[0.5,0.5,0.5]",
        "--data.val_batch_size=2",
        "--data.total_batch=8",
        "--trainer.limit_val_batches=1.0",
        "--trainer.limit_train_batches=1.0",
        "--trainer.devices=2",
        "--trainer.strategy=ddp",
        "--ema.decay=0.9",
    ]
    result = runs.spawn("two", *options)
    assert result.returncode == 0, result.stderr
    folder = runs.folder / "two"
    metrics = json.loads((folder / "metrics.json").read_text())
    measured = _last_validation(folder)
    assert metrics["images"] == 5
    assert float(measured["val/top1"]) == pytest.approx(metrics["top1"], rel=1e-5)
    assert float(measured["val/loss"]) == pytest.approx(metrics["loss"], rel=1e-5)


def test_a_loss_that_is_nan_stops_both_processes(runs: Any) -> None:
    options = ["--trainer.devices=2", "--trainer.strategy=ddp", "--checkpoints.every_steps=1"]
    result = runs.spawn("two", *options, runs.stopper(batch=2, poison=True))
    assert result.returncode == 1
    assert "the loss became nan at update 3" in result.stderr
    assert runs.load(runs.folder / "two")["global_step"] == 2
