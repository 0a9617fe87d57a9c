"""Parameters and multiply-adds of the published systems, on tensors without content."""

import pytest
import segmentation_counting as counting
import torch

import spanetv2
from spanetv2.tasks.segmentation.model import HeadOptions, create_segmenter

VARIANTS = ("s18_pure", "s18_hybrid", "s36_pure", "s36_hybrid")

# parameters in millions, multiply-adds in billions: rule B, all convolutions and products
SEMANTIC_FPN = {
    "s18_pure": (33.43, 43.41, 43.17),
    "s18_hybrid": (31.26, 48.45, 48.25),
    "s36_pure": (48.37, 64.06, 63.67),
    "s36_hybrid": (44.94, 74.17, 73.84),
}
# the same with rule A
UPERNET = {
    "s18_pure": (59.65, 930.01, 929.34),
    "s18_hybrid": (57.48, 925.29, 1024.54),
    "s36_pure": (74.59, 1012.27, 1011.32),
    "s36_hybrid": (71.16, 1003.71, 1199.38),
}


def build(variant, **head):
    with torch.device("meta"):
        model = create_segmenter(variant, 150, HeadOptions(**head))
        classifier = spanetv2.create_model(variant).head
    spanetv2.set_implementation(model, "reference")
    # The published counts include the ImageNet classifier that a dense backbone never uses.
    own = sum(p.numel() for p in model.parameters())
    return model.eval(), (own + sum(p.numel() for p in classifier.parameters())) / 1e6


@pytest.mark.parametrize("variant", VARIANTS)
def test_semantic_fpn_has_the_published_size(variant):
    model, parameters = build(variant, name="semantic_fpn")
    expected = SEMANTIC_FPN[variant]
    assert parameters == pytest.approx(expected[0], rel=1e-3)
    counts = counting.multiply_adds(model, torch.empty(1, 3, 512, 512, device="meta"))
    assert counts["B"] == pytest.approx(expected[1], rel=1e-2)
    assert counts["plain"] == pytest.approx(expected[2], rel=1e-2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_upernet_has_the_published_size(variant):
    model, parameters = build(variant, name="upernet")
    expected = UPERNET[variant]
    assert parameters == pytest.approx(expected[0], rel=1e-3)
    counts = counting.multiply_adds(model, torch.empty(1, 3, 512, 2048, device="meta"))
    assert counts["A"] == pytest.approx(expected[1], rel=1e-2)
    assert counts["plain"] == pytest.approx(expected[2], rel=1e-2)


def test_upernet_of_the_released_width_has_its_size():
    model, parameters = build("s18_pure", name="upernet", width=320)
    assert parameters == pytest.approx(42.43, rel=1e-3)
    counts = counting.multiply_adds(model, torch.empty(1, 3, 512, 2048, device="meta"))
    assert counts["A"] == pytest.approx(418.6, rel=1e-2)
