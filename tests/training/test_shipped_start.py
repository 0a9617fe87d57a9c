"""Training that starts from weights in the package."""

import pytest
import torch

import spanetv2
from spanetv2 import UserError
from spanetv2.tasks.classification.build import build_model
from spanetv2.tasks.classification.config import ModelConfig
from spanetv2.tasks.detection.build import build_detector
from spanetv2.tasks.detection.config import RunConfig as DetectionConfig
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.tasks.detection.weights import load_detector
from spanetv2.tasks.segmentation.build import build_segmenter
from spanetv2.tasks.segmentation.config import RunConfig as SegmentationConfig

CLASSIFIER = "spanetv2_pico_pure.fashion_mnist"
DETECTOR = "spanetv2_pico_pure.scenes_mask_rcnn"


def test_a_classifier_starts_classifiers_and_backbones() -> None:
    trained = spanetv2.load_model(CLASSIFIER)[0].state_dict()
    model = build_model(ModelConfig(), num_classes=4, input_size=(1, 28, 28), weights=CLASSIFIER)
    backbone = build_segmenter(SegmentationConfig(weights=CLASSIFIER), 5).backbone
    for name, value in trained.items():
        if name.startswith("stages."):
            assert torch.equal(model.state_dict()[name], value), name
            assert torch.equal(backbone.state_dict()[f"model.{name}"], value), name


def test_a_detector_starts_detectors() -> None:
    trained, checkpoint = load_detector(DETECTOR)
    options = DetectorOptions(**checkpoint.extra["detector"])
    made = build_detector(DetectionConfig(weights=DETECTOR, detector=options), 3).state_dict()
    same = [name for name, value in trained.state_dict().items() if made[name].shape == value.shape]
    assert len(made) - len(same) == 6  # weights and biases of the three last layers
    assert all(torch.equal(made[name], trained.state_dict()[name]) for name in same)


def test_a_name_of_weights_is_not_a_model() -> None:
    with pytest.raises(UserError, match=f"give spanetv2_pico_pure, and {CLASSIFIER} where weights"):
        build_model(ModelConfig(name=CLASSIFIER), num_classes=4, input_size=(1, 28, 28))
