"""Gradients that teach nothing are logged, counted, told of, and end a run that is stuck."""

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

import spanetv2
from spanetv2.training.finite import GradientWatch, NonFiniteError, total_norm

TINY: dict[str, Any] = {
    "log_every": 1,
    "model": {"name": "test_resnet", "stem_stride": None, "drop_path": None},
    "data": {"dataset": "digits", "total_batch": 4, "workers": 0, "val_split": None},
    "preprocessing": {"input_size": [1, 32, 32], "mean": [0.3], "std": [0.4]},
    "schedule": {"warmup_epochs": 0},
    "trainer": {
        "max_epochs": 1,
        "accelerator": "cpu",
        "devices": 1,
        "limit_train_batches": 14,
        "gradient_clip_val": 1.0,
    },
}


class Huge(Callback):
    """Gives gradients that are finite, and whose norm overflows, in some updates.

    Args:
        updates: which, from 0.
        value: of one gradient.
    """

    def __init__(self, updates: range, value: float = 3e30):
        self.updates = updates
        self.value = value
        self.norms: list[float] = []

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        gradients = [p.grad for p in pl_module.parameters() if p.grad is not None]
        if trainer.global_step in self.updates:
            gradients[0].fill_(self.value)
        self.norms.append(float(torch.cat([g.double().flatten() for g in gradients]).norm()))


def train(out: Path, huge: Huge, **overrides: Any) -> Any:
    more = {"trainer.callbacks": [huge], **overrides}
    return spanetv2.train("classification", TINY, out=out, overrides=more)


def logged(folder: Path) -> list[float]:
    with (folder / "logs" / "metrics.csv").open(newline="") as stream:
        return [float(row["train/gradient_norm"]) for row in csv.DictReader(stream)]


def test_gradient_norm_is_logged_and_an_infinite_one_counted_and_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    huge = Huge(range(3, 6))
    result = train(tmp_path / "run", huge)
    norms = logged(tmp_path / "run")
    assert norms[3:6] == [math.inf] * 3
    assert norms[:3] + norms[6:] == pytest.approx(huge.norms[:3] + huge.norms[6:], rel=1e-4)
    assert result.metrics["training"]["updates_without_finite_gradients"] == 3
    [line] = [line for line in capsys.readouterr().err.splitlines() if "gradient norm" in line]
    assert "warning: the gradient norm is inf at update 4: clipping makes them zero" in line


def test_many_updates_without_finite_gradients_stop_the_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(NonFiniteError, match=r"gradients of the last 10 updates .* to update 12 "):
        train(out, Huge(range(2, 99)), **{"checkpoints.every_steps": 5})
    saved = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 10
    assert saved["callbacks"]["Watch"] == {"bad": 8, "vanished": 0, "in_a_row": 8}
    assert not (out / "weights.safetensors").exists()


def test_gradients_clipped_to_nothing_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tmp_path / "run", Huge(range(3, 5), value=1e9))
    told = [line for line in capsys.readouterr().err.splitlines() if "gradient norm" in line]
    assert len(told) == 1
    assert "is clipped to 1: next to nothing is left" in told[0]


def test_gradient_watch_of_float16_waits_until_the_scale_is_found() -> None:
    said: list[str] = []
    watch = GradientWatch(clip=5.0, scaled=True, say=said.append)
    for update in range(16):  # 65,536 halved down to 1
        assert not watch.note(torch.tensor(math.inf), update=update)
    assert not watch.note(torch.tensor(1.0), update=16)
    assert (watch.bad, watch.in_a_row, said) == (16, 0, [])
    stops = [watch.note(torch.tensor(math.nan), update=17 + i) for i in range(40)]
    assert stops == [False] * 39 + [True]
    assert len(said) == 1


def test_total_norm_is_of_all_tensors_in_float32() -> None:
    parts = [torch.full((2, 2), 3e4, dtype=torch.float16), torch.full((9,), 1e4)]
    expected = math.sqrt(4 * 9e8 + 9 * 1e8)
    assert float(total_norm(parts)) == pytest.approx(expected, rel=1e-3)
    model = nn.Linear(300, 70)
    found = total_norm(list(model.parameters()))
    assert found == nn.utils.get_total_norm(model.parameters())
    assert float(total_norm([])) == 0
