"""Two real processes over gloo train like one, and measure every image once."""

import csv
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from spanetv2.errors import UserError

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


def test_a_process_that_dies_ends_the_run_which_goes_on_as_if_nothing_had_been(runs: Any) -> None:
    # What is captured ends when the last process that writes to it has ended: none is left.
    options = [
        *("--trainer.devices=2", "--checkpoints.every_steps=1", "--data.workers=1"),
        "--trainer.max_epochs=2",
    ]
    assert runs.spawn("whole", *options).returncode == 0
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    resume: list[str] = []
    for batch, rank, launcher, status, said in (
        (2, 1, torchrun, 1, "the connection to another process of the run is lost, which has"),
        (1, 1, (), 1, "process 2 of 2 of the run ("),
        (2, 0, (), -int(signal.SIGKILL), "the process that started the others of the run was kil"),
    ):
        stopper = runs.stopper(batch=batch, rank=rank)
        result = runs.spawn("killed", *options, *resume, stopper, launcher=launcher)
        assert result.returncode == status, result.stderr
        (line,) = [line for line in result.stderr.splitlines() if "error: " in line]
        assert f"error: {said}" in line
        folder = runs.folder / "killed"
        assert f"go on with: spanetv2 train classification --resume --out {folder}" in line
        resume = ["--resume"]
    result = runs.spawn("killed", *options, *resume, "--trainer.callbacks=null")
    assert result.returncode == 0, result.stderr
    assert "after update 5" in result.stderr
    whole, killed = (runs.folder / name / "weights.safetensors" for name in ("whole", "killed"))
    assert whole.read_bytes() == killed.read_bytes()


def test_a_loading_process_that_is_killed_is_named_with_what_to_do(runs: Any) -> None:
    stopper = runs.stopper(batch=1, worker=True)
    with pytest.raises(
        UserError, match=r"a loading process \(\d+\) was killed by the system, as"
    ) as e:
        runs.train("run", "--data.workers=1", stopper)
    assert "use fewer (--data.workers, --workers) or smaller batches, or give more" in str(e.value)


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ("fsdp", "it spreads the weights over the processes"),
        ("deepspeed_stage_2", "it spreads the weights over the processes"),
        ("xla", "expected auto, ddp, ddp_find_unused_parameters_true or single_device"),
        ("single_xla", "expected auto, ddp, ddp_find_unused_parameters_true or single_device"),
        ("bogus", "expected auto, ddp, ddp_find_unused_parameters_true or single_device"),
    ],
)
def test_a_strategy_that_is_not_supported_is_refused_before_anything_is_written(
    runs: Any, strategy: str, said: str
) -> None:
    with pytest.raises(UserError, match=f"got trainer.strategy={strategy}, .*{said}"):
        runs.train("run", f"--trainer.strategy={strategy}")
    assert not (runs.folder / "run").exists()


def test_ddp_spawn_ends_as_ddp_does(runs: Any) -> None:
    strategies = ("--trainer.strategy=ddp_spawn", "--trainer.devices=1")
    before = dict(os.environ)
    folder = runs.train("run", *strategies, "--trainer.max_epochs=1")
    assert (folder / "weights.safetensors").is_file()
    assert not torch.distributed.is_initialized()
    # or the next run here, or a command started from here, would wait for others
    places = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    assert all(os.environ.get(name) == before.get(name) for name in places)


def test_a_port_that_is_taken_is_named(runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setenv("MASTER_PORT", str(port))
        result = runs.spawn("two", "--trainer.devices=2", "--trainer.strategy=ddp")
    assert result.returncode == 1
    assert f"error: port {port}, at which the processes of the run would meet" in result.stderr
    assert "Traceback" not in result.stderr
