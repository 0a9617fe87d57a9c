"""Validation images: held out of the training images, and never the same files unasked."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spanetv2.data.images import EXTENSIONS
from spanetv2.errors import UserError
from spanetv2.tasks.classification.config import DataConfig, RunConfig
from spanetv2.tasks.classification.data.folder import FolderSource
from spanetv2.tasks.classification.data.holdout import PartSource, hold_out
from spanetv2.tasks.classification.run_data import ClassificationData
from spanetv2.training.batching import plan_batches

COUNTS = {"cat": 10, "dog": 5, "emu": 2, "fox": 1}


def write(folder: Path, counts=COUNTS) -> Path:
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.new("RGB", (4, 4), (i, len(name), 9)).save(folder / name / f"{i}.png")
    return folder


def opened(root: Path, *, seed: int = 1, **options) -> ClassificationData:
    data = DataConfig(root=str(root), total_batch=2, **options)
    return ClassificationData(RunConfig(data=data, seed=seed), plan=plan_batches(2, devices=1))


def files(source) -> list[str]:
    return [source.location(i) for i in range(len(source))]


def test_a_share_of_every_class_is_held_out(tmp_path):
    data = opened(write(tmp_path / "flat"), val_share=0.2)
    assert isinstance(data.train, PartSource)
    assert isinstance(data.val, PartSource)
    assert data.train.labels is not None
    assert data.val.labels is not None
    assert np.bincount(data.val.labels, minlength=4).tolist() == [2, 1, 1, 0]
    assert np.bincount(data.train.labels, minlength=4).tolist() == [8, 4, 1, 1]
    assert set(files(data.train)).isdisjoint(files(data.val))
    assert len({*files(data.train), *files(data.val)}) == 18
    assert data.describe() == (
        "folder, 14 training and 4 validation images (0.2 of each class held out of training, "
        "seed 1)"
    )
    assert data.remarks == ["no validation images of 1 of 4 classes: fox"]
    for source in (data.train, data.val):
        image, label = source.sample(1)
        folder = Path(source.location(1)).parent.name
        assert source.classes[label] == folder
        assert image.getpixel((0, 0)) == (int(Path(source.location(1)).stem), len(folder), 9)


def test_what_is_held_out_is_a_function_of_seed_and_names(tmp_path):
    here, there = write(tmp_path / "a"), write(tmp_path / "b" / "train")
    held = files(opened(here, val_share=0.3).val)
    moved = files(opened(there.parent, val_share=0.3).val)
    assert [Path(p).parts[-2:] for p in held] == [Path(p).parts[-2:] for p in moved]
    assert files(opened(here, val_share=0.3).val) == held
    assert files(opened(here, val_share=0.3, seed=2).val) != held
    with pytest.raises(UserError, match=r"data\.val_share is 1\.5, expected between 0 and 1"):
        DataConfig(val_share=1.5)
    with pytest.raises(UserError, match="holds out none"):
        hold_out(FolderSource(write(tmp_path / "c", {"x": 1, "y": 1})), 0.2, seed=0)


def test_a_root_of_class_folders_is_not_validated_on_itself(tmp_path):
    root = write(tmp_path / "flat")
    with pytest.raises(UserError, match=r"got 18 of 18 validation .*--data\.val_share 0\.2\)"):
        opened(root)
    assert opened(root, val_split=None).val is None


def test_a_missing_validation_split_can_be_held_out(tmp_path):
    write(tmp_path / "d" / "train")
    with pytest.raises(UserError, match=r"got no 'val' folder .*: --data\.val_share 0\.2"):
        opened(tmp_path / "d")
    assert opened(tmp_path / "d", val_share=0.2).length() == 14
    asked = opened(tmp_path / "d", val_split="train")
    assert asked.describe().endswith("(its training images: no measure of what it learns)")


@pytest.mark.parametrize("kind", ["split", "class", "file"])
def test_links_that_lead_to_training_images_are_refused(tmp_path, kind):
    root = tmp_path / "d"
    write(root / "train")
    if kind == "split":
        (root / "val").symlink_to(root / "train")
    else:
        write(root / "val", {"cat": 2, "dog": 2})
        place = root / "val" / "dog"
        if kind == "class":
            shutil.rmtree(place)
            place.symlink_to(root / "train" / "dog")
        else:
            (place / "0.png").unlink()
            (place / "0.png").symlink_to(root / "train" / "dog" / "3.png")
    shared = {"split": "18 of 18", "class": "5 of 7", "file": "1 of 4"}[kind]
    with pytest.raises(UserError, match=f"got {shared} validation images that are training"):
        opened(root)


@pytest.mark.parametrize(
    "names", [("Train", "Val"), ("TRAIN", "VALIDATION"), ("Training", "valid")]
)
def test_splits_go_by_their_names_in_any_case(tmp_path, names):
    for name in names:
        write(tmp_path / name)
    data = opened(tmp_path)
    assert data.train.root == tmp_path / names[0]
    assert data.val.root == tmp_path / names[1]


def test_a_folder_of_splits_in_odd_case_is_never_a_folder_of_classes(tmp_path):
    write(tmp_path / "tRaIn")
    with pytest.raises(UserError, match=r"got no 'train' folder .* there is tRaIn"):
        opened(tmp_path)


def test_what_is_left_out_is_counted_and_named(tmp_path):
    write(tmp_path / "train")
    write(tmp_path / "train", {".hidden": 2})
    write(tmp_path / "val", {"cat": 1, "dog": 1, "emu": 1, "fox": 1})
    (tmp_path / "train" / "cat" / "IMG_1.HEIC").write_bytes(b"x")
    (tmp_path / "train" / "dog" / "notes.txt").write_text("x")
    (tmp_path / "train" / ".git").mkdir()
    lines = opened(tmp_path).remarks
    assert lines[0] == (
        "training: left out 1 folders of images that are hidden or a system's own: .hidden; rename "
        "what is a class"
    )
    left_out = "1 files that are not read as images: 1 .txt"
    if ".heic" not in EXTENSIONS:  # where its plug-in is not installed
        left_out = "2 files that are not read as images: 1 .heic, 1 .txt; for .heic"
    assert lines[1].startswith(f"training: left out {left_out}")
    assert len(lines) == 2
