"""Training on objects without masks: from a user's files to pictures of what is found."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from other_data import Record, write_set
from PIL import Image
from test_kinds import check_data, each, open_data, stones

from spanetv2.api import evaluate as evaluate_checkpoint
from spanetv2.api import predict as predict_files
from spanetv2.cli.train import run_training
from spanetv2.errors import UserError
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.tasks.detection.weights import load_detector

TINY = [
    "detection",
    "--model.img_size=64",
    "--detector.fpn_channels=16",
    "--detector.box_channels=32",
    "--detector.min_size=64",
    "--detector.max_size=96",
    "--detector.detections=5",
    "--augmentation.short_sides=[64]",
    "--augmentation.long_side=96",
    "--data.total_batch=2",
    "--schedule.warmup_updates=1",
    "--log_every=1",
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.max_epochs=2",
]

WITHOUT = {
    "missing": lambda made, split: [a.pop("segmentation") for a in made["annotations"]],
    "null": each("annotations", segmentation=None),
    "empty": each("annotations", segmentation=[]),
    "empty in a list": each("annotations", segmentation=[[]]),
    "of all ways": lambda made, split: [
        a.update(segmentation=way)
        for a, way in zip(made["annotations"], (None, [], [[]], {}), strict=False)
    ],
}


def train(root: Path, out: Path, *options: str) -> None:
    """The recipe comes first."""
    run_training([TINY[0], options[0], *TINY[1:], *options[1:], f"--data={root}", f"--out={out}"])


@pytest.mark.parametrize("name", WITHOUT)
def test_boxes_alone_are_read_and_nothing_is_left_out(tmp_path: Path, name: str) -> None:
    root = write_set(tmp_path / "data", WITHOUT[name])
    status, told = check_data(root)
    assert status == 0, told
    data = open_data(root)
    for said in (told, data.describe()):
        assert "no mask on any of 4 objects: boxes alone" in said
    assert not data.detector.masks
    assert data.train.counts.used.total() == 4
    for part in (data.train, data.val):
        assert part is not None
        assert "masks" not in part[0][1]
    assert data.train[0][1]["boxes"].shape == (2, 4)
    assert data.train[0][1]["area"].min() > 0


@pytest.mark.parametrize("system", ["faster_rcnn", "cascade_rcnn"])
def test_boxes_alone_train_a_detector_that_finds_boxes(tmp_path: Path, system: str) -> None:
    root = write_set(tmp_path / "data", each("annotations", segmentation=[]))
    run = tmp_path / "run"
    recipe = {"faster_rcnn": "mask_rcnn", "cascade_rcnn": "cascade_mask_rcnn"}[system]
    train(root, run, f"--config=scenes/{recipe}")
    detector, checkpoint = load_detector(run)
    assert checkpoint.extra["detector"]["masks"] is False
    assert not any("mask" in name for name in detector.state_dict())
    figures = json.loads((run / "metrics.json").read_text())
    assert figures["mask"] is None
    assert len(figures["box"]) == 12
    with (run / "logs" / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert any(row["val/box_ap"] for row in rows)
    assert not any(row.get("val/mask_ap") for row in rows)
    done = evaluate_checkpoint(
        run, root, json=tmp_path / "f.json", picture=tmp_path / "pairs.png", device="cpu"
    )
    assert done.about["system"] == system
    answers = predict_files(run, root / "val", out=tmp_path / "found", score=0.0, device="cpu")
    assert answers.images == 1
    rows = json.loads((tmp_path / "found" / "results.json").read_text())
    assert all("segmentation" not in row for row in rows)
    for picture in (tmp_path / "pairs.png", tmp_path / "found" / "0001.png"):
        with Image.open(picture) as opened:
            opened.load()


@pytest.mark.parametrize("recipe", ["mask_rcnn", "cascade_mask_rcnn"])
def test_masks_are_learned_where_there_are_any(tmp_path: Path, recipe: str) -> None:
    root = write_set(tmp_path / "data", stones(segmentation=[]))
    status, told = check_data(root)
    assert status == 0, told
    said = "2 of 4 objects have no mask (stone 2 of 2): they are learned and measured by their"
    assert said in told.replace("\n", " ")
    data = open_data(root)
    assert said in data.describe()
    assert data.detector.masks
    target = data.train.target(0)
    assert target["has_mask"].tolist() == [True, False]
    assert target["masks"].flatten(1).sum(1).tolist() == [588, 0]
    run = tmp_path / "run"
    train(root, run, f"--config=scenes/{recipe}", "--detector.mask_channels=16")
    figures = json.loads((run / "metrics.json").read_text())
    assert figures["objects"] == 2
    assert figures["mask"] is not None
    assert [row["mask_ap"] is None for row in figures["classes"]] == [False, True]
    assert load_detector(run)[0].options.masks is True


def test_whether_masks_are_learned_can_be_said(tmp_path: Path) -> None:
    def decided(change: Any, masks: Any) -> bool | str:
        root = write_set(tmp_path / "data", change)
        return open_data(root, detector=DetectorOptions(masks=masks)).detector.masks

    def sound(made: Record, split: str) -> None:
        pass

    for masks, wanted in (("auto", True), ("yes", True), (True, True), ("no", False)):
        assert decided(sound, masks) is wanted
    assert decided(each("annotations", segmentation=[]), "auto") is False
    assert decided(each("annotations", segmentation={"counts": 3}), False) is False
    with pytest.raises(UserError, match=r"detector.masks is yes, but no object of .* has a mask"):
        decided(each("annotations", segmentation=[]), "yes")
    with pytest.raises(UserError, match="masks is 'some', expected auto, yes or no"):
        DetectorOptions(masks="some")  # type: ignore[arg-type]
    assert DetectorOptions(masks="yes") == DetectorOptions(masks=True)


def test_a_detector_with_masks_is_measured_on_boxes_alone(tmp_path: Path) -> None:
    """Trained with masks; its validation images have none."""
    change = each("annotations", segmentation=[])
    root = write_set(
        tmp_path / "data", lambda made, split: change(made, split) if split == "val" else None
    )
    run = tmp_path / "run"
    train(root, run, "--config=scenes/mask_rcnn", "--detector.mask_channels=16")
    assert load_detector(run)[0].options.masks is True
    assert json.loads((run / "metrics.json").read_text())["mask"] is None
    done = evaluate_checkpoint(run, root, json=tmp_path / "f.json", device="cpu")
    assert set(done.figures) == {"box_ap", "box_ap50"}


def test_weights_with_masks_start_a_detector_without_and_the_other_way(tmp_path: Path) -> None:
    boxes = write_set(tmp_path / "boxes", each("annotations", segmentation=[]))
    masks = write_set(tmp_path / "masks")
    recipe = ("--config=scenes/mask_rcnn", "--detector.mask_channels=16")
    train(masks, tmp_path / "one", *recipe)
    train(boxes, tmp_path / "two", *recipe, f"--weights={tmp_path / 'one'}")
    assert load_detector(tmp_path / "two")[0].options.masks is False
    train(masks, tmp_path / "three", *recipe, f"--weights={tmp_path / 'two'}")
    assert load_detector(tmp_path / "three")[0].options.masks is True
