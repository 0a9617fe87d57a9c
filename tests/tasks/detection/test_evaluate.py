import json

import pytest
import torch
from small_detectors import light_detector, rectangles

from spanetv2.data.images import Failure
from spanetv2.data.loader import PartialBatch
from spanetv2.errors import UserError
from spanetv2.tasks.detection.evaluate import evaluate, figures, match_classes
from spanetv2.tasks.detection.metrics import DetectionMeter

CLASSES = ["a", "b", "c"]
SCENES = [
    rectangles([[4.0, 6.0, 30.0, 40.0], [30.0, 20.0, 60.0, 62.0]], [1, 3]),
    rectangles([[10.0, 10.0, 50.0, 40.0]], [2], (48, 80)),
    rectangles([], []),
]


def batches(size=2):
    parts = [SCENES[i : i + size] for i in range(0, len(SCENES), size)]
    return [([image for image, _ in part], [target for _, target in part]) for part in parts]


@pytest.fixture
def detector():
    return light_detector(score_threshold=0.0)


@pytest.mark.parametrize("training", [True, False])
def test_evaluate_measures_what_the_detector_finds(detector, training):
    detector.train(training)
    seen = []
    result = evaluate(detector, batches(), classes=CLASSES, on_image=lambda *row: seen.append(row))
    assert detector.training is training
    detector.eval()
    meter = DetectionMeter(3)
    for images, targets in batches():
        with torch.no_grad():
            found = detector.detect(images)
        meter.update(found, targets, [tuple(image.shape[-2:]) for image in images])
    expected = meter.compute()
    assert result.box == expected.box
    assert result.mask == expected.mask
    assert (result.images, result.objects, result.failed) == (3, 3, 0)
    assert result.detections == 60
    assert [target["labels"].tolist() for _, target, _ in seen] == [[1, 3], [2], []]
    assert sum(len(found.labels) for *_, found in seen) == 60
    assert list(figures(result)) == ["box_ap", "box_ap50", "mask_ap", "mask_ap50"]


def test_evaluate_reports_images_that_could_not_be_read(detector):
    bad = Failure("x.jpg", "an empty file")
    first, second = batches()
    parts = [(first, []), (None, [bad]), (second, [bad])]
    result = evaluate(detector, [PartialBatch(*part) for part in parts], classes=CLASSES)
    assert (result.images, result.failed) == (3, 2)
    assert result.failures == [bad, bad]
    with pytest.raises(UserError, match="no images to evaluate"):
        evaluate(detector, [PartialBatch(None, [bad])], classes=CLASSES)


def test_evaluation_result_is_json(detector):
    plain = evaluate(detector, batches(), classes=CLASSES).to_json()
    plain = json.loads(json.dumps(plain, allow_nan=False))
    assert plain["box"]["ap"] == plain["box_ap"]
    assert len(plain["mask"]) == 12
    assert [row["class"] for row in plain["classes"]] == CLASSES
    assert plain["classes"][0]["objects"] == 1


def test_data_may_have_some_of_the_classes_but_no_other():
    assert match_classes(["c", "a"], CLASSES) == CLASSES
    with pytest.raises(UserError, match=r"1 classes .* \('d'\), expected some of its 3"):
        match_classes(["a", "d"], CLASSES)
