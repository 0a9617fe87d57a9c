import pytest
import torch

from spanetv2.errors import UserError
from spanetv2.tasks.detection.model import create_detector
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.training.depth_decay import by_layers


def layers_of(backbone):
    with torch.device("meta"):
        detector = create_detector(backbone, 2, DetectorOptions(fpn_channels=8, box_channels=8))
    depths = by_layers(f"spanetv2_{backbone}")
    return {name: depths.of(name) for name, _ in detector.named_parameters()}


def test_layers_of_s18():
    found = layers_of("s18_hybrid")
    place = "pyramid.backbone.model."
    expected = {
        "stem.conv.weight": 0,
        "stages.0.blocks.0.norm1.weight": 1,
        "stages.0.blocks.2.norm1.weight": 1,
        "stages.1.downsample.conv.weight": 2,
        "stages.1.blocks.2.norm1.weight": 2,
        "stages.2.downsample.conv.weight": 3,
        "stages.2.blocks.2.norm1.weight": 3,
        "stages.2.blocks.3.norm1.weight": 4,
        "stages.2.blocks.8.norm1.weight": 5,
        "stages.3.downsample.norm.weight": 6,
        "stages.3.blocks.0.norm1.weight": 6,
        "feature_norms.0.weight": 7,
        "feature_norms.3.weight": 7,
    }
    assert {name: found[place + name] for name in expected} == expected
    outside = {layer for name, layer in found.items() if not name.startswith(place)}
    assert outside == {7}
    assert set(found.values()) == set(range(8))


def test_scales_of_s36_never_exceed_one():
    found = layers_of("s36_pure")
    assert found["pyramid.backbone.model.stages.2.blocks.17.norm1.weight"] == 8
    assert found["pyramid.backbone.model.stages.3.blocks.2.norm1.weight"] == 9
    scale = by_layers("spanetv2_s36_pure").lr_scale(0.7)
    assert max(map(scale, found)) == 1
    assert scale("pyramid.backbone.model.stem.conv.weight") == pytest.approx(0.7**10)


def test_other_backbones_have_no_known_layers():
    with pytest.raises(UserError, match="got resnet50; give --optimizer"):
        by_layers("resnet50")
