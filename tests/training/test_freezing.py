"""What is frozen stays as it is: weights, statistics, and how it runs."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

import spanetv2
from spanetv2.errors import Interrupted
from spanetv2.training.freezing import freeze, hold_frozen_in_eval

RESNET = {
    "model": {"name": "test_resnet", "stem_stride": None, "drop_path": None},
    "data": {"dataset": "digits", "total_batch": 8, "workers": 0, "val_batch_size": 60},
    "preprocessing": {"input_size": [1, 32, 32], "mean": [0.3], "std": [0.4]},
    "schedule": {"warmup_epochs": 0},
    "trainer": {
        "max_epochs": 3,
        "accelerator": "cpu",
        "devices": 1,
        "limit_train_batches": 2,
        "limit_val_batches": 1,
        "num_sanity_val_steps": 1,
    },
}


class Modes(Callback):
    """Counts, at every batch, frozen modules that are in training mode.

    Args:
        stop_at: raise a stop after so many batches, None never.
    """

    def __init__(self, stop_at: int | None = None):
        self.stop_at = stop_at
        self.wrong: list[int] = []
        self.trained: list[bool] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        net = pl_module.net
        assert isinstance(net, nn.Module)
        frozen = [
            module
            for module in net.modules()
            if (own := list(module.parameters())) and not any(p.requires_grad for p in own)
        ]
        assert len(frozen) > 5
        self.wrong.append(sum(m.training for part in frozen for m in part.modules()))
        self.trained.append(net.get_submodule("fc").training)
        if len(self.wrong) == self.stop_at:
            raise Interrupted("stopped by the test", 130)


def test_frozen_layers_run_in_evaluation_mode_all_the_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    modes = [Modes(stop_at=4), Modes()]
    overrides = {"freeze": "all", "trainer.callbacks": [modes[0]], "checkpoints.every_steps": 1}
    with pytest.raises(Interrupted):
        spanetv2.train("classification", RESNET, out=out, overrides=overrides)
    overrides["trainer.callbacks"] = [modes[1]]
    spanetv2.train("classification", RESNET, out=out, overrides=overrides, resume=True)
    for seen in modes:  # first epoch, after validation, and after going on amid an epoch
        assert seen.wrong == [0] * len(seen.wrong)
        assert all(seen.trained)
    assert (len(modes[0].wrong), len(modes[1].wrong)) == (4, 3)


def test_statistics_of_frozen_batch_norm_do_not_move(tmp_path: Path) -> None:
    start = spanetv2.train("classification", RESNET, out=tmp_path / "start")
    overrides = {"freeze": "all", "weights": str(start.weights)}
    after = spanetv2.train("classification", RESNET, out=tmp_path / "after", overrides=overrides)
    first, second = (spanetv2.load_model(r.weights)[0].state_dict() for r in (start, after))
    moved = {name for name in first if not torch.equal(first[name], second[name])}
    assert moved == {"fc.weight", "fc.bias"}


def test_dropout_between_frozen_layers_is_frozen_and_the_one_before_the_classifier_is_not() -> None:
    model = timm.create_model("test_vit", num_classes=3, drop_rate=0.5, pos_drop_rate=0.5)
    frozen = freeze(model, "all")
    hold_frozen_in_eval(model, frozen)
    assert not model.get_submodule("pos_drop").training
    assert not model.get_submodule("blocks.0").training
    assert model.get_submodule("head_drop").training
    images = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model.forward_features(images), model.forward_features(images))  # pyright: ignore[reportCallIssue]


def test_nothing_frozen_changes_no_mode() -> None:
    model = timm.create_model("test_resnet")
    hold_frozen_in_eval(model, [])
    assert all(module.training for module in model.modules())
