"""Several labels an image: figures, loss, and a run from a CSV file to predictions."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.mixup import Mixup

import spanetv2
from spanetv2.errors import UserError
from spanetv2.models.weights.read import read_checkpoint
from spanetv2.tasks import find_task
from spanetv2.tasks.classification.data.holdout import hold_out
from spanetv2.tasks.classification.data.labels_file import LabelsFileSource
from spanetv2.tasks.classification.learning import _widened
from spanetv2.tasks.classification.several import LabelMeter, label_loss


def average_precision(scores: np.ndarray, true: np.ndarray) -> float:
    """By the definition: recall gained at each threshold, times the precision there."""
    total, before, result = true.sum(), 0.0, 0.0
    for threshold in sorted({*scores.tolist()}, reverse=True):
        said = scores >= threshold
        right = (said & true).sum()
        result += (right / total - before) * right / said.sum()
        before = right / total
    return float(result)


def test_figures_are_those_of_the_definition():
    random = np.random.default_rng(0)
    logits = random.normal(size=(50, 4)).round(1).astype(np.float32)  # with ties
    true = random.random((50, 4)) < [0.5, 0.2, 0.05, 0.0]
    true[0, 2] = True
    meter = LabelMeter(4)
    for part in range(0, 50, 20):
        meter.update(torch.tensor(logits[part : part + 20]), torch.tensor(true[part : part + 20]))
    found = meter.compute()
    expected = [average_precision(logits[:, k], true[:, k]) for k in range(3)]
    assert [row.ap for row in found.per_class[:3]] == pytest.approx(expected)
    assert found.per_class[3].ap is None
    assert found.map == pytest.approx(np.mean(expected))
    said = logits > 0
    right = (said & true).sum()
    assert found.f1 == pytest.approx(2 * right / (said.sum() + true.sum()))
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    loss = -(true * np.log(p) + ~true * np.log(1 - p)).mean()
    assert found.loss == pytest.approx(loss, rel=1e-5)
    row = found.per_class[1]
    assert (row.images, row.predicted) == (true[:, 1].sum(), said[:, 1].sum())
    assert row.recall == pytest.approx((said & true)[:, 1].sum() / true[:, 1].sum())


def test_outputs_that_are_not_finite_are_refused():
    meter = LabelMeter(2)
    with pytest.raises(UserError, match="got no images"):
        meter.compute()
    meter.update(torch.tensor([[0.0, float("nan")]]), torch.tensor([[1, 0]]))
    with pytest.raises(UserError, match="not finite for 1 of 1 images"):
        meter.compute()


def test_smoothing_draws_targets_together_as_mixup_does():
    logits, targets = torch.randn(4, 3), torch.randint(0, 2, (4, 3)).float()
    smooth = Mixup(mixup_alpha=1.0, prob=0.0, label_smoothing=0.2, num_classes=3, multi_label=True)
    _, mixed = smooth(torch.randn(4, 1, 2, 2), targets)
    assert mixed.unique().tolist() == pytest.approx([0.1, 0.9])
    torch.testing.assert_close(
        label_loss(logits, targets, smoothing=0.2), label_loss(logits, mixed)
    )
    assert _widened(targets, 5)[:, 3:].eq(0).all()


COLOURS = {"blue": 2, "green": 1, "red": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Images whose red, green and blue are on or off, named in a CSV file."""
    root = tmp_path_factory.mktemp("several")
    (root / "images").mkdir()
    random = np.random.default_rng(0)
    lines = ["image_id,tags"]
    for i in range(48):
        on = random.random(3) < [0.5, 0.4, 0.25]
        pixels = np.where(on, 200, 40) + random.integers(-30, 30, (32, 32, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / f"{i}.png")
        lines.append(f"{i},{' '.join(name for name, c in COLOURS.items() if on[c])}")
    (root / "labels.csv").write_text("\n".join(lines))
    return root


OPTIONS = {
    "model.name": "spanetv2_pico_pure",
    "preprocessing.input_size": [3, 32, 32],
    "data.val_share": 0.25,
    "data.total_batch": 12,
    "data.workers": 0,
    "data.class_balanced": True,
    "augmentation.crop": "none",
    "augmentation.interpolation": "bicubic",
    "mixing.mixup": 0.2,
    "mixing.label_smoothing": 0.1,
    "optimizer.lr": 2e-3,
    "trainer.max_epochs": 4,
    "trainer.accelerator": "cpu",
    "trainer.devices": 1,
    "trainer.enable_progress_bar": False,
}


def train(data: Path, out: Path, **options):
    values = {**OPTIONS, "data.labels": str(data / "labels.csv"), **options}
    return spanetv2.train(
        "classification", {}, data=str(data / "images"), out=str(out), overrides=values
    )


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory):
    return train(data, tmp_path_factory.mktemp("runs") / "run")


def test_a_run_learns_several_labels_and_is_measured(data, run):
    assert run.metrics["num_classes"] == 3
    assert run.metrics["map"] > 0.8  # by chance a third
    assert run.metrics["training"]["best_map"] > 0
    header = (run.folder / "logs" / "metrics.csv").read_text().splitlines()[0]
    assert header.endswith("val/map,val/f1,val/loss")
    again = spanetv2.evaluate(
        run.folder, str(data / "images"), labels=str(data / "labels.csv"), device="cpu"
    )
    assert again.figures["map"] == pytest.approx(run.metrics["map"])
    assert "measured on 0.25 of each class held out of training, seed 42" in again.notes
    text = again.measurement.text()
    assert "mAP" in text
    assert "AP  precision" in text


def test_predictions_are_classes_from_a_score_on(data, run, tmp_path):
    images = str(data / "images")
    done = spanetv2.predict(run.folder, images, device="cpu", picture=tmp_path / "sheet.png")
    counts = [len(record["predictions"]) for record in done.records]
    assert {0, 2} <= {*counts}
    for record in done.records:
        assert all(row["probability"] >= 0.5 for row in record["predictions"])
    everything = spanetv2.predict(run.folder, images, device="cpu", score=0.0)
    assert {len(record["predictions"]) for record in everything.records} == {3}
    with Image.open(tmp_path / "sheet.png") as opened:
        assert opened.width > 0
    first = spanetv2.predict(run.folder, images, device="cpu", score=0.0, top_k=1)
    assert {len(record["predictions"]) for record in first.records} == {1}


def test_weights_say_that_outputs_are_each_a_yes_or_no(data, run):
    checkpoint = read_checkpoint(run.folder)
    assert checkpoint.extra["multi_label"] is True
    task = find_task("classification")
    assert task.export_subject(checkpoint).description["activation"] == "sigmoid"
    with pytest.raises(UserError, match="says yes or no to each class"):
        task.explore_subject(checkpoint, "run", None, pretrained=False)
    with pytest.raises(UserError, match=r"got --score 0\.5 for .* one class an image"):
        spanetv2.predict("spanetv2_pico_pure.fashion_mnist", "x.png", score=0.5)


def test_a_run_goes_on_with_the_same_weights(data, tmp_path):
    whole = train(data, tmp_path / "whole", **{"trainer.max_epochs": 2})
    parted = {"trainer.max_epochs": 2, "trainer.max_steps": 2}
    train(data, tmp_path / "parted", **parted)
    values = {"trainer.max_steps": None}
    rest = spanetv2.train(
        "classification", out=str(tmp_path / "parted"), resume=True, overrides=values
    )
    states = [read_checkpoint(done.folder).state_dict for done in (whole, rest)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_held_out_images_have_the_share_of_every_class(data):
    source = LabelsFileSource(data / "images", data / "labels.csv")
    assert source.labels is not None
    kept, held = hold_out(source, 0.25, seed=1)
    assert sorted([*kept, *held]) == list(range(48))
    total = source.labels.sum(axis=0)
    share = source.labels[held].sum(axis=0) / total
    assert share == pytest.approx([0.25] * 3, abs=0.12)
    assert not np.array_equal(held, hold_out(source, 0.25, seed=2)[1])
    json.dumps(held.tolist())
