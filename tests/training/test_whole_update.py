"""An update put together from passes and processes is that of its whole batch, for every loss."""

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from still_norms import StillNorms
from torch import Tensor, nn
from training_runs import spawn_training

import spanetv2
from spanetv2.tasks.detection.model import create_detector
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.training.module import TaskModule

SEGMENTATION: dict[str, Any] = {
    "log_every": 1,
    "model": {"name": "pico_pure", "img_size": 32, "drop_path": 0.0},
    "head": {
        "name": "semantic_fpn",
        "width": 8,
        "neck": 8,
        "dropout": 0.0,
        "auxiliary": True,
        "auxiliary_width": 8,
    },
    "data": {"dataset": "folder", "total_batch": 4, "workers": 0, "val_split": None},
    "preprocessing": {"size": [32, 32]},
    "augmentation": {
        "scale": [1.0, 1.0],
        "crop": 32,
        "max_share": 1.0,
        "hflip": 0.0,
        "photometric": 0.0,
    },
    "optimizer": {"name": "momentum", "momentum": 0.0, "lr": 0.1, "weight_decay": 0.0},
    "schedule": {"name": "constant", "updates": 2, "validate_every": 2},
    "trainer": {"accelerator": "cpu", "devices": 1},
}


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 images of 3 classes, of which between none and all pixels are labelled."""
    root = tmp_path_factory.mktemp("uneven")
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind / "train").mkdir(parents=True)
    for index, rows in enumerate((0, 30, 4, 32, 15, 31, 1, 25)):
        labels = rng.integers(0, 3, (32, 32)).astype(np.uint8)
        labels[labels == 2] *= index % 2  # and not of the same classes
        pixels = (labels[..., None] * 80 + rng.integers(0, 60, (32, 32, 3))).astype(np.uint8)
        labels[:rows] = 255
        Image.fromarray(pixels).save(root / "images" / "train" / f"{index}.png")
        Image.fromarray(labels).save(root / "masks" / "train" / f"{index}.png")
    (root / "classes.txt").write_text("ground\nred\ngreen\n")
    return root


def network(folder: Path) -> dict[str, Tensor]:
    saved = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return {k: v for k, v in saved["state_dict"].items() if v.is_floating_point()}


def losses(folder: Path) -> list[list[float]]:
    with (folder / "logs" / "metrics.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["train/loss"]]
    return [[float(row["train/loss"]), float(row["train/gradient_norm"])] for row in rows]


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return float(torch.stack([(a[name] - b[name]).norm() for name in a]).norm())


WEIGHTS = {"ground": 0.07, "green": 3.0}


@pytest.mark.parametrize("weights", [{}, WEIGHTS])
def test_accumulated_segmentation_takes_the_step_of_the_whole_batch(
    tmp_path: Path, uneven: Path, weights: dict[str, float]
) -> None:
    def train(name: str, **overrides: Any) -> Path:
        more = {"trainer.callbacks": [StillNorms()], "class_weights": weights, **overrides}
        out = tmp_path / name
        return spanetv2.train(
            "segmentation", SEGMENTATION, data=uneven, out=out, overrides=more
        ).folder

    start = network(train("start", **{"optimizer.lr": 1e-12}))
    whole = train("whole")
    way = distance(network(whole), start)
    for size in (1, 2):
        parts = train(f"parts{size}", **{"data.batch_size": size})
        assert distance(network(parts), network(whole)) < 1e-4 * way
        assert losses(parts) == [pytest.approx(row, rel=1e-4) for row in losses(whole)]


def test_two_processes_take_the_step_of_the_whole_batch_and_log_its_loss(
    tmp_path: Path, uneven: Path
) -> None:
    overrides = {"trainer.callbacks": [StillNorms()], "class_weights": WEIGHTS}
    more = {"data": uneven, "overrides": overrides}
    whole = spanetv2.train("segmentation", SEGMENTATION, out=tmp_path / "whole", **more).folder
    result = spawn_training(
        [
            "segmentation",
            f"--config={whole / 'config.yaml'}",
            f"--out={tmp_path / 'two'}",
            "--trainer.callbacks=still_norms.StillNorms",
            "--data.batch_size=1",
            "--trainer.devices=2",
            "--trainer.strategy=ddp",
        ],
        launcher=("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
    )
    assert result.returncode == 0, result.stderr
    assert "1 per device x 2 devices x 2 accumulated = 4" in result.stderr
    two = tmp_path / "two"
    for name, value in network(whole).items():
        torch.testing.assert_close(network(two)[name], value, rtol=1e-4, atol=1e-5)
    assert losses(two) == [pytest.approx(row, rel=1e-4) for row in losses(whole)]


def test_accumulated_soft_targets_take_the_step_of_the_whole_batch(tmp_path: Path) -> None:
    base: dict[str, Any] = {
        "log_every": 1,
        "model": {"name": "pico_pure", "stem_stride": 1, "drop_path": 0.0},
        "data": {"dataset": "digits", "total_batch": 8, "workers": 0, "val_split": None},
        "preprocessing": {"input_size": [1, 8, 8], "mean": [0.3], "std": [0.4]},
        "augmentation": {"crop": "none", "hflip": 0.0, "interpolation": "bilinear"},
        # soft targets without a pair, as pairs are made within a pass
        "mixing": {"mixup": 0.5, "prob": 0.0, "label_smoothing": 0.2},
        "optimizer": {"name": "momentum", "momentum": 0.0, "lr": 0.1, "weight_decay": 0.0},
        "schedule": {"name": "constant"},
        "trainer": {"accelerator": "cpu", "devices": 1, "max_epochs": 1, "max_steps": 2},
    }
    folders = [
        spanetv2.train(
            "classification", base, out=tmp_path / str(size), overrides={"data.batch_size": size}
        ).folder
        for size in (8, 2)
    ]
    whole, parts = (network(folder) for folder in folders)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-4, atol=1e-5)
    assert losses(folders[1]) == [pytest.approx(row, rel=1e-4) for row in losses(folders[0])]


def gradient_of(net: nn.Module, losses: dict[str, Tensor]) -> Tensor:
    """Of the sum of the losses, all parameters in a row."""
    net.zero_grad(set_to_none=False)
    torch.stack(list(losses.values())).sum().backward(retain_graph=True)
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in net.parameters()]
    return torch.cat([part.flatten() for part in parts])


class TwoProcesses:
    """Two detectors in one process, whose module thinks that they are processes."""

    def __init__(self, counts: list[dict[str, Tensor]]):
        self.counts = counts

    def sum_over_processes(self, tensors: list[Tensor]) -> None:
        [tensor] = tensors
        tensor.copy_(sum(torch.stack(list(each.values())) for each in self.counts))

    means_of_passes = False
    trainer = SimpleNamespace(world_size=2)


@pytest.mark.parametrize("system", ["mask_rcnn", "cascade_mask_rcnn"])
def test_detection_of_two_processes_has_the_gradient_of_the_whole_batch(system: str) -> None:
    # So many samples that all boxes are taken: what is drawn by lot cannot differ.
    options = DetectorOptions(
        system=system,  # pyright: ignore[reportArgumentType]
        fpn_channels=8,
        box_channels=16,
        box_convs=1,
        box_conv_channels=8,
        box_norm="group",
        mask_convs=1,
        mask_channels=8,
        anchor_sizes=(8, 16, 32, 48, 64),
        rpn_samples=60_000,
        roi_samples=1000,
        roi_positive=1.0,
        proposals_before_nms_train=60,
        proposals_train=30,
        min_size=64,
        max_size=64,
    )
    torch.manual_seed(0)
    net = create_detector("pico_pure", 2, options, img_size=64, drop_path_rate=0.0)
    images = [torch.rand(3, 64, 64), torch.rand(3, 64, 64)]
    targets = []
    for count in (1, 6):  # uneven objects
        corner = torch.rand(count, 2) * 30
        boxes = torch.cat([corner, corner + 8 + torch.rand(count, 2) * 20], 1)
        masks = torch.ones(count, 64, 64, dtype=torch.uint8)
        targets.append({"boxes": boxes, "labels": torch.arange(count) % 2 + 1, "masks": masks})

    whole = gradient_of(net, net(images, targets))
    counts, parts = [], []
    for image, target in zip(images, targets, strict=True):
        parts.append(net([image], [target]))
        counts.append(net.loss_counts())
        assert counts[-1].keys() >= parts[-1].keys()
    assert any(len({int(each[name]) for each in counts}) == 2 for name in counts[0])
    processes: Any = TwoProcesses(counts)
    wanted, plain = torch.zeros_like(whole), torch.zeros_like(whole)
    for count, losses in zip(counts, parts, strict=True):
        shares = TaskModule.shares_of_processes(processes, count)
        plain += gradient_of(net, losses) / 2
        wanted += gradient_of(net, {k: shares[k] * v for k, v in losses.items()}) / 2
    assert (wanted - whole).norm() < 1e-3 * whole.norm()
    assert (plain - whole).norm() > 1e-2 * whole.norm()
