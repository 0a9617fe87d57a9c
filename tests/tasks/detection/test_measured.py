"""Detectors as the benchmark runs them."""

import pytest
import torch

from spanetv2.benchmark.networks import network_step
from spanetv2.benchmark.settings import Cell
from spanetv2.benchmark.subject import NotMeasuredError
from spanetv2.errors import UserError
from spanetv2.models.weights import read_checkpoint
from spanetv2.tasks.detection.measured import SHAPE, detector_subject, full_name
from spanetv2.tasks.detection.task import TASK

SHIPPED = "spanetv2_pico_pure.scenes_mask_rcnn"


def find(name: str, size: int):
    return detector_subject(read_checkpoint(name) if name == SHIPPED else name, size)


def step(model: str = SHIPPED, **changes: object):
    fields = {"mode": "eager", "work": "inference", "dtype": "float32", "batch": 1, "size": 64}
    cell = Cell(model=model, **{**fields, **changes})  # pyright: ignore[reportArgumentType]
    return network_step(cell, device="cpu", channels_last=False, find=find)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_image_of_noise_gets_as_many_objects_as_one_may_have(dtype: str) -> None:
    most = find(SHIPPED, 64).model.options.detections
    (result,) = step(dtype=dtype).run()
    assert result["masks"].shape == (most, 1, 64, 64)  # the image is taken as large as it is
    assert set(result["labels"].tolist()) == {1}
    assert float(result["scores"].min()) > 0.3


def test_a_training_pass_has_gradients_in_all_heads() -> None:
    subject = find(SHIPPED, 64)
    trained = network_step(
        Cell(model=SHIPPED, mode="eager", work="training", dtype="float32", batch=1, size=64),
        device="cpu",
        channels_last=False,
        find=lambda name, size: subject,
    )
    assert float(trained.run()) > 0
    idle = [name for name, p in subject.model.named_parameters() if p.grad is None]
    assert not idle
    trained.tidy()
    assert all(p.grad is None for p in subject.model.parameters())


def test_what_depends_on_the_boxes_is_not_compiled(monkeypatch) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function, **_: compiled.append(1) or function)
    (result,) = step(mode="compiled").run()
    assert len(compiled) == 2  # backbone and pyramid; the head of the proposals
    assert len(result["boxes"])
    with pytest.raises(NotMeasuredError, match="@optimized is for classifiers"):
        step(f"{SHIPPED}@optimized")


def test_the_exported_file_finds_as_many_objects() -> None:
    most = find(SHIPPED, 64).model.options.detections
    boxes, _, labels, masks = step(mode="onnxruntime").run()
    assert (len(boxes), set(labels.tolist()), len(masks)) == (most, {1}, most)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batch": 2}, "takes one image at a time in onnxruntime"),
        ({"size": 80}, "sides are multiples of 32"),
        ({"dtype": "int8"}, "cannot be exported in int8"),
        (
            {"model": "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn"},
            "cannot be exported whole for onnxruntime",
        ),
    ],
)
def test_what_no_file_of_a_detector_does_is_not_measured(changes, said) -> None:
    with pytest.raises(NotMeasuredError, match=said):
        step(**{"mode": "onnxruntime", **changes})


def test_torchvision_is_measured_alike() -> None:
    name = "torchvision:fasterrcnn_mobilenet_v3_large_320_fpn"
    (result,) = step(name).run()
    assert set(result["labels"].tolist()) == {1}
    assert float(step(name, work="training").run()) > 0


def test_names_and_usual_sizes() -> None:
    assert full_name("cascade_rcnn:convformer_s18") == "cascade_rcnn:convformer_s18"
    assert full_name("torchvision:maskrcnn_resnet50_fpn") == "torchvision:maskrcnn_resnet50_fpn"
    assert full_name("torchvision:resnet50") is None
    assert TASK.benchmark_shape("mask_rcnn:s18_pure") == SHAPE
    assert TASK.benchmark_shape(read_checkpoint(SHIPPED)) == (2, 256)
    with pytest.raises(UserError, match="expected one of torchvision's fasterrcnn and maskrcnn"):
        full_name("torchvision:ssd300_vgg16")
