"""Parameters and multiply-adds of the published systems, on tensors without content."""

import pytest
import torch

import spanetv2
from spanetv2.models.costs import count_parameters, multiply_adds
from spanetv2.tasks.segmentation.model import HeadOptions, create_segmenter

VARIANTS = ("s18_pure", "s18_hybrid", "s36_pure", "s36_hybrid")

# parameters in millions, multiply-adds in billions: as published (convolutions, products and less
# than 1 % for norms and resizing), convolutions and products
SEMANTIC_FPN = {
    "s18_pure": (33.43, 43.41, 43.17),
    "s18_hybrid": (31.26, 48.45, 48.25),
    "s36_pure": (48.37, 64.06, 63.67),
    "s36_hybrid": (44.94, 74.17, 73.84),
}
# the same, published without the products inside attention
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
    # The published counts include the ImageNet classifier that a dense backbone never uses.
    return model, (count_parameters(model) + count_parameters(classifier)) / 1e6


@pytest.mark.parametrize("variant", VARIANTS)
def test_semantic_fpn_has_the_published_size(variant):
    model, parameters = build(variant, name="semantic_fpn")
    expected = SEMANTIC_FPN[variant]
    assert parameters == pytest.approx(expected[0], rel=1e-3)
    products = multiply_adds(model, (1, 3, 512, 512)).products / 1e9
    assert products == pytest.approx(expected[1], rel=1e-2)
    assert products == pytest.approx(expected[2], rel=1e-2)


@pytest.mark.parametrize("variant", VARIANTS)
def test_upernet_has_the_published_size(variant):
    model, parameters = build(variant, name="upernet")
    expected = UPERNET[variant]
    assert parameters == pytest.approx(expected[0], rel=1e-3)
    cost = multiply_adds(model, (1, 3, 512, 2048))
    assert cost.layers / 1e9 == pytest.approx(expected[1], rel=1e-2)
    assert cost.products / 1e9 == pytest.approx(expected[2], rel=1e-2)


def test_upernet_of_the_released_width_has_its_size():
    model, parameters = build("s18_pure", name="upernet", width=320)
    assert parameters == pytest.approx(42.43, rel=1e-3)
    cost = multiply_adds(model, (1, 3, 512, 2048))
    assert cost.layers / 1e9 == pytest.approx(418.6, rel=1e-2)
