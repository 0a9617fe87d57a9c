"""A head goes on only for the classes that it was trained for, in whatever order they come."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn

import spanetv2
from spanetv2.models.weights import read_checkpoint
from spanetv2.tasks.classification.build import build_model
from spanetv2.tasks.classification.config import ModelConfig
from spanetv2.tasks.detection.model import create_detector
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.tasks.detection.weights import load_detector, save_detector
from spanetv2.tasks.detection.weights import start_from as start_detector
from spanetv2.tasks.segmentation.model import HeadOptions, create_segmenter
from spanetv2.tasks.segmentation.weights import load_segmenter, save_segmenter
from spanetv2.tasks.segmentation.weights import start_from as start_segmenter

ABC = ["a", "b", "c"]


@dataclass
class Start:
    """Weights, what is trained from them, and the layers that tell classes.

    Args:
        before: the trained network.
        after: the new one.
        layers: names of the layers.
        first: rows before the first class, in classes.
    """

    before: nn.Module
    after: nn.Module
    layers: Sequence[str]
    first: int = 0

    def rows(self, network: nn.Module, classes: int) -> list[torch.Tensor]:
        """(classes, anything) of every weight and bias."""
        parameters = [p for name in self.layers for p in network.get_submodule(name).parameters()]
        assert parameters
        return [p.detach().reshape(classes + self.first, -1)[self.first :] for p in parameters]


def classification(name: str) -> Any:
    def start(path: Path, known: list[str] | None, wanted: list[str]) -> Start:
        torch.manual_seed(0)
        before = build_model(ModelConfig(name=name), num_classes=3, input_size=(3, 32, 32))
        biased(before)
        spanetv2.save_weights(before, path, classes=known)
        torch.manual_seed(1)
        after = build_model(
            ModelConfig(),
            num_classes=len(wanted),
            input_size=(3, 32, 32),
            weights=str(path),
            classes=wanted,
        )
        layer = str(cast(Any, before).pretrained_cfg["classifier"])
        return Start(before, after, [layer])

    return start


def segmentation(path: Path, known: list[str] | None, wanted: list[str]) -> Start:
    options = HeadOptions(name="semantic_fpn", width=8, neck=8, auxiliary=True, auxiliary_width=8)
    torch.manual_seed(0)
    before = biased(create_segmenter("pico_pure", 3, options))
    save_segmenter(before, path, classes=known or ABC)
    torch.manual_seed(1)
    after = create_segmenter("pico_pure", len(wanted), options)
    start_segmenter(after, load_segmenter(path)[1], classes=wanted)
    return Start(before, after, ["head.classifier", "auxiliary.classifier"])


def detection(path: Path, known: list[str] | None, wanted: list[str]) -> Start:
    options = DetectorOptions(fpn_channels=8, box_channels=8, mask_convs=1, mask_channels=8)
    torch.manual_seed(0)
    before = biased(create_detector("pico_pure", 3, options))
    save_detector(before, path, classes=known or ABC)
    torch.manual_seed(1)
    after = create_detector("pico_pure", len(wanted), options)
    start_detector(after, load_detector(path)[1], classes=wanted)
    boxes, masks = "roi_heads.box_predictor", "roi_heads.mask_predictor.mask_fcn_logits"
    return Start(before, after, [f"{boxes}.cls_score", f"{boxes}.bbox_pred", masks], first=1)


def biased(network: Any) -> Any:
    """A network that was trained: no parameter has the value that it begins with."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return network


STARTS = {
    "spanetv2": classification("spanetv2_pico_pure"),
    "timm": classification("test_resnet"),
    "segmentation": segmentation,
    "detection": detection,
}


@pytest.mark.parametrize("task", STARTS)
def test_the_same_classes_keep_their_rows_in_whatever_order(
    task: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "weights.safetensors"
    for wanted in (ABC, ["c", "a", "b"]):
        start = STARTS[task](path, ABC, wanted)
        old, new = start.rows(start.before, 3), start.rows(start.after, 3)
        for first, second in zip(old, new, strict=True):
            for row, name in enumerate(wanted):
                assert torch.equal(second[row], first[ABC.index(name)])
    assert "made anew" not in caplog.text


@pytest.mark.parametrize("task", STARTS)
def test_other_classes_get_a_new_head_and_a_line_says_so(
    task: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        start = STARTS[task](tmp_path / "weights.safetensors", ABC, ["a", "b", "d"])
    told = [r.getMessage() for r in caplog.records if "made anew" in r.getMessage()]
    assert len(told) == 1
    assert "trained for other classes (a, b, c, not a, b, d)" in told[0]
    old, new = start.rows(start.before, 3), start.rows(start.after, 3)
    for first, second in zip(old, new, strict=True):
        assert not torch.equal(first, second)
    # all else is taken
    inside = tuple(start.layers)
    expected, got = start.before.state_dict(), start.after.state_dict()
    different = [n for n in expected if not torch.equal(expected[n], got[n])]
    assert different
    assert all(name.startswith(inside) for name in different)


@pytest.mark.parametrize("task", ["spanetv2", "timm"])
def test_weights_without_names_keep_a_head_of_as_many_classes(task: str, tmp_path: Path) -> None:
    start = STARTS[task](tmp_path / "weights.safetensors", None, ABC)
    old, new = start.rows(start.before, 3), start.rows(start.after, 3)
    assert all(torch.equal(first, second) for first, second in zip(old, new, strict=True))


def test_a_run_from_weights_of_classes_in_another_order_begins_with_their_rows(
    tmp_path: Path,
) -> None:
    tiny: dict[str, Any] = {
        "model": {"name": "test_resnet", "stem_stride": None, "drop_path": None},
        "data": {"dataset": "digits", "total_batch": 64, "workers": 0, "val_batch_size": 360},
        "preprocessing": {"input_size": [1, 32, 32], "mean": [0.3], "std": [0.4]},
        "optimizer": {"lr": 2e-3},
        "schedule": {"warmup_epochs": 0},
        "trainer": {
            "max_epochs": 1,
            "accelerator": "cpu",
            "devices": 1,
            "limit_train_batches": 2,
            "limit_val_batches": 1,
        },
    }
    first = spanetv2.train("classification", tiny, out=tmp_path / "first")
    checkpoint = read_checkpoint(first.weights)
    assert checkpoint.classes is not None
    turned = [*checkpoint.classes[3:], *checkpoint.classes[:3]]
    order = [checkpoint.classes.index(name) for name in turned]
    model = spanetv2.load_model(first.weights)[0]
    with torch.no_grad():
        for parameter in model.get_submodule("fc").parameters():
            parameter.copy_(parameter[order])
    spanetv2.save_weights(model, tmp_path / "turned.safetensors", classes=turned)
    still = {"weights": str(tmp_path / "turned.safetensors"), "freeze": "all"}
    still |= {"optimizer.lr": 1e-12}
    second = spanetv2.train("classification", tiny, out=tmp_path / "second", overrides=still)
    one, two = (spanetv2.load_model(run.weights)[0].get_submodule("fc") for run in (first, second))
    torch.testing.assert_close(dict(two.named_parameters()), dict(one.named_parameters()))
