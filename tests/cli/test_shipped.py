"""The commands with weights of the package: no training, no download, no file to name."""

import csv
import gzip
import json
import struct
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from spanetv2.cli.main import make_app
from spanetv2.errors import UserError
from spanetv2.models.weights import shipped_weights
from spanetv2.scenes import write_scenes
from spanetv2.tasks.classification.data.arrays import FASHION_MNIST_CLASSES

SLICE = Path(__file__).parents[1] / "data" / "fashion_mnist" / "first_500_test_images.npz"
NAME = "spanetv2_pico_pure.fashion_mnist"
SEGMENTER = "spanetv2_pico_pure.scenes_semantic_fpn"
DETECTOR = "spanetv2_pico_pure.scenes_mask_rcnn"
COUNT = 100  # 93 of them are recognised


def run(*arguments: object) -> Result:
    return CliRunner().invoke(make_app(), [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def clothes() -> tuple[np.ndarray, np.ndarray]:
    """Real test images and their labels."""
    with np.load(SLICE) as content:
        return content["images"][:COUNT], content["labels"][:COUNT]


@pytest.fixture(scope="module")
def fashion(clothes, tmp_path_factory) -> Path:
    """A folder of the files that Fashion-MNIST comes in, with its first test images."""
    folder = tmp_path_factory.mktemp("fashion")
    images, labels = clothes
    for part, array in (("images-idx3", images), ("labels-idx1", labels)):
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        with gzip.open(folder / f"t10k-{part}-ubyte.gz", "wb") as file:
            file.write(header + array.tobytes())
    return folder


def test_predict_recognises_clothes(clothes, tmp_path):
    images, labels = clothes
    for i, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{i:03}.png")
    result = run("predict", NAME, tmp_path, "--top-k", 1, "--device", "cpu")
    assert result.exit_code == 0, result.output
    rows = list(csv.reader(result.stdout.splitlines(), delimiter="\t"))
    assert [Path(row[0]).name for row in rows] == [f"{i:03}.png" for i in range(COUNT)]
    names = [FASHION_MNIST_CLASSES[label] for label in labels]
    assert sum(row[1] == name for row, name in zip(rows, names, strict=True)) >= 0.9 * COUNT


def test_evaluate_measures_them(fashion, tmp_path):
    out = tmp_path / "figures.json"
    options = ("--dataset", "fashion_mnist", "--data", fashion, "--json", out, "--device", "cpu")
    result = run("evaluate", NAME, *options)
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text())
    assert found["images"] == COUNT
    assert found["top1"] >= 0.9
    assert found["preprocessing"]["mean"] == [0.286]


def test_analyze_takes_them(fashion, tmp_path, undrawn):
    options = ("--dataset", "fashion_mnist", "--images", fashion, "--max-images", 8)
    options += ("--probe-images", 1, "--channels", 1, "--rows", 2, "--sheet-images", 1)
    result = run("analyze", "model", NAME, *options, "--out", tmp_path / "report")
    assert result.exit_code == 0, result.output
    assert NAME in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_predict_finds_digits_in_scenes(tmp_path):
    scenes = write_scenes(tmp_path / "scenes", train=0, val=4, seed=3)
    out = tmp_path / "found"
    result = run("predict", DETECTOR, scenes / "images", "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.output
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    found = Counter((Path(row[0]).name, row[1]) for row in rows)
    truth = json.loads((scenes / "annotations" / "instances_val.json").read_text())
    files = {image["id"]: Path(image["file_name"]).name for image in truth["images"]}
    digits = {category["id"]: category["name"] for category in truth["categories"]}
    there = Counter((files[a["image_id"]], digits[a["category_id"]]) for a in truth["annotations"])
    both = (found & there).total()
    assert both >= 0.7 * there.total()
    assert both >= 0.7 * found.total()


def test_predict_labels_the_pixels_of_scenes(tmp_path):
    scenes = write_scenes(tmp_path / "scenes", train=0, val=4, seed=3)
    out = tmp_path / "labelled"
    result = run("predict", SEGMENTER, scenes / "images", "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.output
    lines = (out / "predictions.jsonl").read_text().splitlines()
    right, digits = 0, 0
    for line in lines:
        row = json.loads(line)
        found = np.asarray(Image.open(out / row["labels"])).astype(int)
        name = Path(row["path"]).with_suffix(".png").name
        # in the files 0 is not labelled and 1 the background, in predictions 0 is the background
        there = np.asarray(Image.open(scenes / "annotations" / "validation" / name)).astype(int) - 1
        digits += (there > 0).sum()
        right += ((there > 0) & (found == there)).sum()
    assert len(lines) == 4
    assert right >= 0.6 * digits


def test_models_lists_them():
    text = run("models").stdout
    rows = json.loads(run("models", "--json").stdout)
    listed = {name: row["name"] for row in rows for name in row["weights"]}
    assert listed.keys() == shipped_weights().keys()
    assert listed[NAME] == "spanetv2_pico_pure"
    for name, found in shipped_weights().items():
        (line,) = (line for line in text.splitlines() if line.split()[:1] == [name])
        assert found.task in line
        assert "%" in line


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "pico_pure.cifar", "image.png"),
        ("evaluate", "pico_pure.cifar"),
        ("export", "pico_pure.cifar"),
        ("analyze", "model", "pico_pure.cifar", "--dataset", "digits"),
    ],
)
def test_unknown_names_are_one_line_with_the_known_ones(command):
    result = run(*command)
    assert result.exit_code != 0
    assert isinstance(result.exception, UserError)
    for name in shipped_weights():
        assert name in str(result.exception)
