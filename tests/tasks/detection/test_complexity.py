"""The published sizes and costs of detectors at 800 x 1280 pixels, 1000 boxes, 100 masks."""

import pytest
import torch

from spanetv2.models.costs import count_parameters
from spanetv2.tasks.detection.complexity import multiply_adds
from spanetv2.tasks.detection.model import create_detector
from spanetv2.tasks.detection.options import DetectorOptions

# Published counts include a classifier that a dense backbone never uses ...
CLASSIFIER = 3_104_744
# ... and torchvision predicts a box and a mask for the background, too, in each stage.
BACKGROUND = 4_357

# parameters (M), multiply-adds (G) as papers count them, with every matrix product
TABLE = {
    ("mask_rcnn", "s18_pure"): (49.33, 255.36, 254.94),
    ("mask_rcnn", "s18_hybrid"): (47.16, 250.75, 345.62),
    ("mask_rcnn", "s36_pure"): (64.27, 335.70, 335.00),
    ("mask_rcnn", "s36_hybrid"): (60.84, 327.34, 514.16),
    ("cascade_mask_rcnn", "s18_pure"): (87.17, 733.90, 733.19),
    ("cascade_mask_rcnn", "s18_hybrid"): (85.00, 729.29, 823.88),
    ("cascade_mask_rcnn", "s36_pure"): (102.10, 814.23, 813.25),
    ("cascade_mask_rcnn", "s36_hybrid"): (98.67, 805.87, 992.41),
}


@pytest.mark.parametrize(("system", "backbone"), TABLE)
def test_complexity_is_as_published(system, backbone):
    with torch.device("meta"):
        detector = create_detector(backbone, 80, DetectorOptions(system=system))
    params, layers, products = TABLE[system, backbone]
    stages = 1 if system == "mask_rcnn" else 3
    assert (count_parameters(detector) + CLASSIFIER - stages * BACKGROUND) / 1e6 == pytest.approx(
        params, rel=1e-3
    )
    cost = multiply_adds(detector)
    assert cost.layers / 1e9 == pytest.approx(layers, rel=0.01)
    assert cost.products / 1e9 == pytest.approx(products, rel=0.01)


def test_counting_follows_boxes_and_size_and_leaves_the_detector_alone():
    light = DetectorOptions(fpn_channels=16, box_channels=32, mask_channels=16)
    detector = create_detector("pico_pure", 3, light)
    whole = multiply_adds(detector, 64, 64, boxes=10, masks=10).products
    # per box: 16 x 7 x 7 x 32, then 32 x 32, then 4 classes and 4 x 4 deltas
    per_box = 16 * 49 * 32 + 32 * 32 + 32 * 4 * 5
    more = multiply_adds(detector, 64, 64, boxes=11, masks=10).products
    assert more - whole == per_box
    assert multiply_adds(detector, 128, 64, boxes=10, masks=10).products > whole
    assert next(detector.parameters()).device.type == "cpu"
    assert detector.training
