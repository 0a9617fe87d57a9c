"""``spanetv2 predict`` and ``spanetv2 evaluate`` with a detector."""

import json

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from spanetv2.cli.evaluate import evaluate_command
from spanetv2.cli.predict import predict_command
from spanetv2.errors import UserError
from spanetv2.tasks.detection.masks import decode_mask, encode_pixels
from spanetv2.tasks.detection.model import create_detector
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.tasks.detection.weights import save_detector

CLASSES = ["cat", "my dög", "bird"]
evaluate, predict = evaluate_command(), predict_command()
IDS = [5, 1, 90]
LIGHT = DetectorOptions(
    system="cascade_mask_rcnn",
    fpn_channels=16,
    box_channels=32,
    box_convs=1,
    box_conv_channels=16,
    mask_convs=1,
    mask_channels=16,
    proposals_test=30,
    detections=5,
    min_size=64,
    max_size=96,
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    detector = create_detector("pico_pure", 3, LIGHT, img_size=64)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_detector(detector, path, classes=CLASSES, category_ids=IDS)
    return path


@pytest.fixture
def coco(tmp_path):
    """Three images, one of them empty and one damaged, in COCO's layout."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    (tmp_path / "coco" / "val2017").mkdir()
    for i, (height, width) in enumerate([(40, 60), (64, 64), (50, 50)]):
        name = f"{i + 100:012d}.jpg"
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "coco" / "val2017" / name)
        images.append({"id": i + 100, "file_name": name, "height": height, "width": width})
        if i < 2:
            mask = torch.zeros(1, height, width, dtype=torch.uint8)
            mask[0, 5:25, 10:40] = 1
            annotations.append(
                {
                    "id": i + 1,
                    "image_id": i + 100,
                    "category_id": (5, 90)[i],
                    "bbox": [10, 5, 30, 20],
                    "area": 600,
                    "iscrowd": 0,
                    "segmentation": encode_pixels(mask)[0],
                }
            )
    record = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 5, "name": "cat"}, {"id": 90, "name": "bird"}],
    }
    path = tmp_path / "coco" / "annotations" / "instances_val2017.json"
    path.write_text(json.dumps(record))
    return tmp_path / "coco"


def run(command, *arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [*map(str, arguments), "--device", "cpu"])


def test_predict_writes_pictures_and_results(checkpoint, coco, tmp_path):
    images = coco / "val2017"
    (images / "broken.jpg").write_bytes(b"")
    (images / "deeper").mkdir()
    Image.new("RGB", (3, 200)).save(images / "deeper" / "000000000100.png")
    out = tmp_path / "out"
    result = run(predict, checkpoint, images, "--out", out, "--score", 0, "--batch-size", 2)
    assert result.exit_code == 1, result.output
    assert f"error: {images}/broken.jpg: an empty file" in result.stderr
    assert "4 images searched, 1 problems" in result.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "000000000100-2.png",
        "000000000100.png",
        "000000000101.png",
        "000000000102.png",
        "manifest.json",
        "results.json",
        "rows",
    ]
    rows = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert len(rows) == 20
    # the second file of the same number gets the next one that is free
    assert {row["image_id"] for row in rows} == {100, 101, 102, 103}
    assert {row["category_id"] for row in rows} <= set(IDS)
    row = next(row for row in rows if row["image_id"] == 100)
    assert row["file_name"] == str(images / "000000000100.jpg")
    assert decode_mask(row["segmentation"]).shape == (40, 60)
    x, y, width, height = row["bbox"]
    assert 0 <= x <= x + width <= 60.01
    assert 0 <= y <= y + height <= 40.01
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert len(lines) == 20
    assert {line[1] for line in lines} <= set(CLASSES)
    assert all(len(line) == 7 for line in lines)
    scores = [float(line[2]) for line in lines]
    np.testing.assert_allclose(scores, [row["score"] for row in rows], atol=1e-4)


def test_predict_with_a_high_score_finds_nothing_and_says_so(checkpoint, coco, tmp_path):
    out = tmp_path / "out"
    result = run(predict, checkpoint, coco / "val2017", "--out", out, "--score", 1)
    assert result.exit_code == 0, result.output
    assert json.loads((out / "results.json").read_text()) == []
    assert "0 objects in 3 images" in result.stderr
    assert result.stdout == ""


def test_predict_refuses_options_of_other_tasks(checkpoint, coco):
    result = run(predict, checkpoint, coco / "val2017", "--top-k", 3)
    assert isinstance(result.exception, UserError)
    assert "--top-k, which is for classification" in str(result.exception)


def test_evaluate_prints_and_writes_all_figures(checkpoint, coco, tmp_path):
    out, sheet = tmp_path / "figures.json", tmp_path / "sheet.png"
    result = run(
        evaluate, checkpoint, "--data", coco, "--json", out, "--picture", sheet, "--batch-size", 2
    )
    assert result.exit_code == 0, result.output
    assert "3 images, 2 objects" in result.stdout
    figures = json.loads(out.read_text())
    assert len(figures["box"]) == len(figures["mask"]) == 12
    assert figures["system"] == "cascade_mask_rcnn"
    assert [row["class"] for row in figures["classes"]] == ["cat", "bird"]
    rows = json.loads((tmp_path / "figures.results.json").read_text())
    # of the class that the data do not have nothing is written
    assert 0 < len(rows) <= figures["detections"]
    assert {row["category_id"] for row in rows} <= {5, 90}
    assert {row["image_id"] for row in rows} <= {100, 101, 102}
    with Image.open(sheet) as picture:
        assert picture.size == (4 * 328 + 8, 2 * 328 + 8)


def test_evaluate_takes_an_annotation_file_and_reports_damaged_images(checkpoint, coco):
    (coco / "val2017" / "000000000101.jpg").write_bytes(b"")
    annotations = coco / "annotations" / "instances_val2017.json"
    result = run(evaluate, checkpoint, "--data", annotations, "--split", coco / "val2017")
    assert result.exit_code == 1
    assert "000000000101.jpg: an empty file" in result.stderr
    assert "2 images evaluated, 1 could not be read" in result.stderr


def test_evaluate_refuses_what_it_cannot_measure(checkpoint, coco):
    assert "expected --data" in str(run(evaluate, checkpoint).exception)
    result = run(evaluate, checkpoint, "--data", coco, "--dataset", "digits")
    assert "expected coco" in str(result.exception)
    path = coco / "annotations" / "instances_val2017.json"
    record = json.loads(path.read_text())
    record["categories"].append({"id": 7, "name": "unicorn"})
    path.write_text(json.dumps(record))
    result = run(evaluate, checkpoint, "--data", coco)
    assert isinstance(result.exception, UserError)
    assert "'unicorn'" in str(result.exception)
