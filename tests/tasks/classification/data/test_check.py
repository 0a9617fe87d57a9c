"""``spanetv2 check-data classification`` on folders as people have them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from spanetv2.cli.check_data import check_data_app
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.sources import DatasetSpec, open_dataset


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes, three images to train on and one held out in each."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 1)):
        for name in ("cat", "dog"):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (20, 24 + i, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path


def check(root: Path, *options: object):
    app: typer.Typer = check_data_app()
    return CliRunner().invoke(app, ["classification", str(root), *map(str, options)])


def test_sound_data_are_counted(root):
    result = check(root)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("error") == result.stderr.count("warning") == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["train:", "6", "images,", "2", "classes"] in lines
    assert ["val:", "2", "images,", "2", "classes"] in lines
    assert lines.count(["cat", "3"]) == lines.count(["cat", "1"]) == 1
    assert "sides of 20 to 26 pixels" in result.stdout


def test_damaged_files_are_errors_as_in_training(root):
    bad = root / "train" / "cat" / "1.png"
    bad.write_bytes(bad.read_bytes()[:100])
    result = check(root)
    assert result.exit_code == 1
    assert f"error: {bad}: " in result.stderr
    assert "train: 5 images" in result.stdout


def test_what_is_left_out_is_counted_and_named(root):
    for i in range(3):
        (root / "train" / "dog" / f"{i}.heif2").write_bytes(b"x")
    shutil.copytree(root / "train" / "dog", root / "train" / ".bird")
    shutil.copytree(root / "train" / "dog", root / "train" / "__MACOSX")
    result = check(root)
    assert result.exit_code == 0
    assert "left out 3 files that are not read as images: 3 .heif2" in result.stderr
    assert "left out 2 folders of images" in result.stderr
    assert ": .bird, __MACOSX;" in result.stderr


def test_the_same_image_in_both_splits_is_named(root):
    shutil.copy(root / "train" / "cat" / "0.png", root / "val" / "cat" / "copy.png")
    shutil.copy(root / "train" / "dog" / "0.png", root / "train" / "dog" / "again.png")
    result = check(root)
    assert "1 images are in both splits, byte by byte" in result.stderr
    assert "copy.png" in result.stderr
    assert "1 images are there more than once" in result.stderr


def test_classes_in_one_split_only(root):
    shutil.rmtree(root / "val" / "dog")
    result = check(root)
    assert result.exit_code == 0
    assert "no validation images of 1 of 2 classes: dog" in result.stderr
    (root / "train" / "cat").rename(root / "train" / "bird")
    result = check(root)
    assert isinstance(result.exception, UserError)
    assert "train: 6 images" in result.stdout
    assert "unknown classes 'cat'" in str(result.exception)
    train = open_dataset(DatasetSpec(root=str(root), split="train"), training=True)
    with pytest.raises(UserError, match="'cat'"):  # and so does training
        open_dataset(DatasetSpec(root=str(root), split="val", classes=train.classes))


def test_one_class_cannot_be_told_apart(root):
    for split in ("train", "val"):
        shutil.rmtree(root / split / "dog")
    result = check(root)
    assert result.exit_code == 1
    assert "error: got 1 class (cat), expected 2 or more" in result.stderr


def test_a_folder_that_is_not_split_is_said_once(root):
    result = check(root / "train")
    assert "train: 6 images" in result.stdout
    assert isinstance(result.exception, UserError)
    assert "got 6 of 6 validation images that are training images" in str(result.exception)
    result = check(root, "--split", "val", "--workers", 1)
    assert result.exit_code == 0
    assert "val: 2 images" in result.stdout
    assert "train" not in result.stdout


def test_an_empty_class_ends_the_check_as_it_ends_training(root):
    (root / "train" / "bird").mkdir()
    result = check(root)
    assert result.exit_code == 1
    assert "error: got no training image of 1 of 3 classes (bird)" in result.stderr
    result = check(root, "--empty-classes", "keep")
    assert result.exit_code == 0, result.output
