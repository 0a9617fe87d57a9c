import pytest
import torch
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.metrics import SegmentationMeter


def batches(classes=6, count=3):
    """Random labels and guesses; class 4 occurs nowhere, class 5 is only ever predicted."""
    torch.manual_seed(0)
    for _ in range(count):
        target = torch.randint(0, 4, (2, 9, 11), dtype=torch.uint8)
        predicted = torch.randint(0, 4, (2, 9, 11), dtype=torch.uint8)
        predicted[:, :5] = target[:, :5]
        predicted[:, -1, 0] = 5
        target[:, :, 3] = 255
        predicted[:, :, 3] = 4
        yield predicted, target


def test_meter_agrees_with_torchmetrics():
    meter = SegmentationMeter(6)
    options = {"num_classes": 6, "ignore_index": 255}
    iou = MulticlassJaccardIndex(**options)
    each = MulticlassJaccardIndex(**options, average="none")
    accuracy = MulticlassAccuracy(**options, average="micro")
    for predicted, target in batches():
        meter.update(predicted, target)
        for metric in (iou, each, accuracy):
            metric.update(predicted.long(), target.long())
    found = meter.compute()
    assert found.images == 6
    assert 0.1 < found.miou < 0.7
    assert found.miou == pytest.approx(iou.compute().item(), rel=1e-6)
    assert found.pixel_accuracy == pytest.approx(accuracy.compute().item(), rel=1e-6)
    for row, value in zip(found.per_class, each.compute().tolist(), strict=True):
        assert (row.iou or 0.0) == pytest.approx(value, rel=1e-6)
    assert found.per_class[4].iou is None
    assert found.per_class[5].iou == 0
    assert found.per_class[5].accuracy is None
    assert found.mean_accuracy == pytest.approx(
        sum(row.accuracy for row in found.per_class[:4]) / 4
    )
    assert int(found.confusion.sum()) == 3 * 2 * 9 * 10


def test_meters_of_several_processes_are_added():
    whole, parts = SegmentationMeter(6), [SegmentationMeter(6), SegmentationMeter(6)]
    for i, (predicted, target) in enumerate(batches()):
        whole.update(predicted, target)
        parts[i % 2].update(predicted, target)
    for own, other in zip(parts[0].tensors(), parts[1].tensors(), strict=True):
        own += other
    got, expected = parts[0].compute(), whole.compute()
    assert torch.equal(got.confusion, expected.confusion)
    assert (got.miou, got.images) == (expected.miou, expected.images)


def test_meter_without_labels_is_an_error():
    meter = SegmentationMeter(3)
    nothing = torch.full((1, 4, 4), 255, dtype=torch.uint8)
    meter.update(torch.zeros_like(nothing), nothing)
    with pytest.raises(UserError, match="got no labelled pixels"):
        meter.compute()
