import pytest
import torch
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support
from sklearn.metrics import top_k_accuracy_score as top_k
from torch.nn import functional as F

from spanetv2.errors import UserError
from spanetv2.tasks.classification import metrics
from spanetv2.tasks.classification.metrics import ClassificationMeter


def sample(classes: int, images: int = 400, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, classes - 1, (images,), generator=generator)  # none of the last
    logits = torch.randn(images, classes, generator=generator)
    logits[torch.arange(images), targets] += 1.5
    return logits, targets


@pytest.mark.parametrize("classes", [3, 7, 30])
@pytest.mark.parametrize("batch", [1, 37, 400])
def test_meter_agrees_with_scikit_learn(classes, batch):
    logits, targets = sample(classes)
    meter = ClassificationMeter(classes)
    for i in range(0, len(targets), batch):
        meter.update(logits[i : i + batch], targets[i : i + batch])
    result = meter.compute()
    labels = list(range(classes))
    predicted = logits.argmax(1)
    k = min(5, classes)
    assert result.images == 400
    assert result.top1 == pytest.approx((predicted == targets).float().mean().item())
    if k < classes:
        expected = top_k(targets.numpy(), logits.numpy(), k=k, labels=labels)
        assert result.top5 == pytest.approx(expected)
    else:
        assert result.top5 == 1
    expected = log_loss(targets.numpy(), logits.double().softmax(1).numpy(), labels=labels)
    assert result.loss == pytest.approx(expected, rel=1e-5)
    matrix = confusion_matrix(targets, predicted, labels=labels)
    assert result.confusion is not None
    assert result.confusion.tolist() == matrix.tolist()
    precision, recall, f1, support = precision_recall_fscore_support(
        targets,
        predicted,
        labels=labels,
        zero_division=0,  # pyright: ignore[reportArgumentType]
    )
    for i, row in enumerate(result.per_class):
        assert row.images == support[i]  # type: ignore[index]
        assert row.predicted == matrix[:, i].sum()
        found = (row.precision or 0.0, row.top1 or 0.0, row.f1 or 0.0)
        assert found == pytest.approx((precision[i], recall[i], f1[i]))  # type: ignore[index]
    last = result.per_class[-1]
    assert (last.images, last.top1, last.top5) == (0, None, None)


def test_meters_of_several_processes_add_up():
    logits, targets = sample(6)
    whole, left, right = (ClassificationMeter(6) for _ in range(3))
    whole.update(logits, targets)
    left.update(logits[:150], targets[:150])
    right.update(logits[150:], targets[150:])
    for mine, other in zip(left.tensors(), right.tensors(), strict=True):
        mine += other
    found, expected = left.compute(), whole.compute()
    assert found.per_class == expected.per_class
    assert found.loss == pytest.approx(expected.loss)
    assert torch.equal(found.confusion, expected.confusion)  # type: ignore[arg-type]


def test_meter_counts_half_precision_in_full():
    logits, targets = sample(10)
    meter = ClassificationMeter(10)
    meter.update(logits.half(), targets)
    expected = F.cross_entropy(logits.half().float(), targets).item()
    assert meter.compute().loss == pytest.approx(expected, rel=1e-6)


def test_meter_top5_covers_all_of_fewer_classes():
    meter = ClassificationMeter(2)
    meter.update(torch.tensor([[0.0, 1.0]]), torch.tensor([0]))
    assert (meter.compute().top1, meter.compute().top5) == (0.0, 1.0)


def test_meter_leaves_out_the_confusion_matrix_of_too_many_classes(monkeypatch):
    monkeypatch.setattr(metrics, "MAX_CONFUSION_CLASSES", 9)
    for meter in (ClassificationMeter(10), ClassificationMeter(9, confusion=False)):
        logits, targets = sample(meter.num_classes)
        meter.update(logits, targets)
        assert meter.compute().confusion is None
        assert len(meter.tensors()) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_meter_refuses_outputs_that_are_not_finite(value):
    meter = ClassificationMeter(3)
    meter.update(torch.tensor([[0.0, value, 0.0], [1.0, 0.0, 0.0]]), torch.tensor([1, 0]))
    with pytest.raises(UserError, match="not finite for 1 of 2 images"):
        meter.compute()


def test_meter_refuses_to_average_nothing():
    with pytest.raises(UserError, match="no images to evaluate"):
        ClassificationMeter(3).compute()
