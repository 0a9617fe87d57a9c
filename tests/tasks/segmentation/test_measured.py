"""Segmentation models as the benchmark runs them."""

import dataclasses
import math

import pytest
import torch

from spanetv2.benchmark.networks import exported_network, network_step
from spanetv2.benchmark.settings import Cell
from spanetv2.errors import UserError
from spanetv2.models.weights import read_checkpoint
from spanetv2.tasks.segmentation.measured import SHAPE, full_name, segmenter_subject
from spanetv2.tasks.segmentation.model import HeadOptions, create_segmenter
from spanetv2.tasks.segmentation.task import TASK

SHIPPED = "spanetv2_pico_pure.scenes_semantic_fpn"


def cell(model: str = SHIPPED, **changes: object) -> Cell:
    fields = {"mode": "eager", "work": "inference", "dtype": "float32", "batch": 2, "size": 64}
    return Cell(model=model, **{**fields, **changes})  # pyright: ignore[reportArgumentType]


def find(name: str, size: int):
    return segmenter_subject(read_checkpoint(name) if name == SHIPPED else name, size)


def step(model: str = SHIPPED, **changes: object):
    return network_step(cell(model, **changes), device="cpu", channels_last=False, find=find)


def test_a_checkpoint_answers_with_its_own_weights_in_every_precision() -> None:
    expected = step().run()
    assert expected.std() > 0.1
    reference = step(f"{SHIPPED}@reference").run()
    torch.testing.assert_close(reference, expected, rtol=1e-3, atol=1e-3)
    half = step(dtype="bfloat16").run()
    assert half.dtype == torch.float32
    assert 1e-4 < float((half - expected).norm() / expected.norm()) < 0.05


def test_a_training_pass_is_the_loss_of_both_heads_of_150_classes() -> None:
    loss = step("upernet:pico_pure", work="training").run()
    assert float(loss) == pytest.approx(1.4 * math.log(150), rel=0.2)


@pytest.mark.parametrize(
    "name", ["smp:fpn:resnet18", "torchvision:lraspp_mobilenet_v3_large", SHIPPED]
)
def test_every_library_is_measured_alike(name: str) -> None:
    if name.startswith("smp:"):
        pytest.importorskip("segmentation_models_pytorch")
    scores = step(name).run()
    scores = scores["out"] if isinstance(scores, dict) else scores
    assert scores.shape[2:] == (64, 64)
    assert float(step(name, work="training").run()) > 0


def test_a_network_of_ours_can_be_measured_as_onnx() -> None:
    pytest.importorskip("onnxscript")
    small = create_segmenter(
        "pico_pure", 3, HeadOptions(name="semantic_fpn", width=8, neck=8), depths=(1, 1, 1, 1)
    )
    subject = dataclasses.replace(find(SHIPPED, 64), model=small)
    content = exported_network(SHIPPED, 1, 64, find=lambda name, size: subject)
    assert len(content) > sum(p.numel() for p in small.parameters())


def test_names_and_usual_sizes() -> None:
    assert full_name("semantic_fpn:convformer_s18") == "semantic_fpn:convformer_s18"
    assert full_name("torchvision:fcn_resnet50") == "torchvision:fcn_resnet50"
    assert full_name("torchvision:resnet50") is None
    assert TASK.benchmark_shape("upernet:s18_pure") == SHAPE
    assert TASK.benchmark_shape(read_checkpoint(SHIPPED)) == (2, 192)
    with pytest.raises(UserError, match="did you mean pico_pure"):
        full_name("upernet:pico_pur")
    with pytest.raises(UserError, match="expected smp:ARCHITECTURE:ENCODER"):
        find("smp:nothing:resnet18", 64)
