"""Runs that a callback ends early, and the check before the first update."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping

import spanetv2

TINY: dict[str, Any] = {
    "log_every": 1,
    "model": {"name": "test_resnet", "stem_stride": None, "drop_path": None},
    "data": {"dataset": "digits", "total_batch": 4, "workers": 0, "val_batch_size": 20},
    "preprocessing": {"input_size": [1, 32, 32], "mean": [0.3], "std": [0.4]},
    "schedule": {"warmup_epochs": 0},
    "checkpoints": {"every_epochs": 100, "monitor": "top1"},
    "trainer": {
        "max_epochs": 6,
        "accelerator": "cpu",
        "devices": 1,
        "limit_train_batches": 3,
        "limit_val_batches": 1,
    },
}


class Saves(Callback):
    """Notes the updates at which checkpoints are written."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        self.steps.append(checkpoint["global_step"])


def stopping() -> EarlyStopping:
    # never good enough: it stops after the second epoch
    return EarlyStopping("val/loss", mode="min", patience=1, min_delta=1e9)


def train(out: Path, callbacks: list[Callback], **overrides: Any) -> Any:
    more = {"trainer.callbacks": callbacks, **overrides}
    return spanetv2.train("classification", TINY, out=out, overrides=more)


def test_early_stopping_is_told_of_with_its_last_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saves = Saves()
    result = train(tmp_path / "run", [stopping(), saves])
    said = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("epoch 2/6: ") for line in said) == 1
    [told] = [line for line in said if line.startswith("stopped after epoch 2 of 6: ")]
    assert "val/loss did not improve in the last 1 records" in told
    assert result.metrics["training"]["epochs"] == 2
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == saves.steps[-1] == 6


def test_a_stop_that_has_to_wait_saves_no_more_often_than_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saves = Saves()
    overrides = {"trainer.min_epochs": 5, "checkpoints.every_steps": 4}
    train(tmp_path / "run", [stopping(), saves], **overrides)
    amid = [step for step in saves.steps if step % 3]
    assert amid == [4, 8]  # 12 is the end of an epoch, which saves itself when it is the best
    assert saves.steps[-1] == 15
    assert "stopped after epoch 5 of 6: " in capsys.readouterr().err


def test_a_run_that_ends_at_its_length_says_nothing_of_stopping(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "run", [Saves()], **{"trainer.max_epochs": 2})
    train(tmp_path / "steps", [Saves()], **{"trainer.max_steps": 2})
    assert "stopped" not in capsys.readouterr().err


def test_the_sanity_check_leaves_no_row(tmp_path: Path) -> None:
    overrides = {"trainer.max_epochs": 1, "trainer.num_sanity_val_steps": 1}
    train(tmp_path / "run", [], **overrides)
    with (tmp_path / "run" / "logs" / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 3]
