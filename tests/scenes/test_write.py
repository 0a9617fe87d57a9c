"""Scenes on disk, read back with nothing of this package."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spanetv2.errors import UserError
from spanetv2.scenes import SceneSettings, contact_sheet, scene_of, write_scenes
from spanetv2.scenes.annotate import run_lengths

SMALL = SceneSettings(size=128)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("data") / "scenes"
    return write_scenes(out, train=5, val=3, seed=7, settings=SMALL)


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as opened:
        return np.asarray(opened)


def decoded(segmentation: dict) -> np.ndarray:
    """COCO's definition of a run-length code, written as it is read."""
    height, width = segmentation["size"]
    pixels: list[bool] = []
    for place, length in enumerate(segmentation["counts"]):
        pixels += [place % 2 == 1] * length
    return np.array(pixels).reshape(width, height).T


def test_layout_is_that_of_ade20k(folder):
    names = [f"scene_{number:06d}" for number in range(1, 6)]
    assert set(contents(folder)) == {
        *(f"images/training/{name}.jpg" for name in names),
        *(f"annotations/training/{name}.png" for name in names),
        *(f"images/validation/{name}.jpg" for name in names[:3]),
        *(f"annotations/validation/{name}.png" for name in names[:3]),
        *("annotations/instances_train.json", "annotations/instances_val.json"),
        *("classes.txt", "scenes.json"),
    }
    classes = (folder / "classes.txt").read_text().split()
    assert classes == ["background", *"0123456789"]
    for split in ("training", "validation"):
        for path in (folder / "annotations" / split).iterdir():
            labels = pixels(path)
            image = pixels(folder / "images" / split / f"{path.stem}.jpg")
            assert labels.dtype == image.dtype == np.uint8
            assert labels.shape == (128, 128)
            assert image.shape == (128, 128, 3)
            values = np.unique(labels)
            assert values[0] == 1, "no background, or pixels without label"
            assert 2 <= values[1] <= values[-1] <= 11


@pytest.mark.parametrize(("split", "place"), [("train", "training"), ("val", "validation")])
def test_coco_annotations_say_what_the_label_images_say(folder, split, place):
    record = json.loads((folder / "annotations" / f"instances_{split}.json").read_text())
    assert [(c["id"], c["name"]) for c in record["categories"]] == [
        (digit + 1, str(digit)) for digit in range(10)
    ]
    ids = [one["id"] for one in record["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    assert [image["id"] for image in record["images"]] == [1, 2, 3, 4, 5][: len(record["images"])]
    for image in record["images"]:
        assert (image["width"], image["height"]) == (128, 128)
        labels = pixels((folder / "annotations" / place / image["file_name"]).with_suffix(".png"))
        own = [one for one in record["annotations"] if one["image_id"] == image["id"]]
        assert own
        again = np.ones_like(labels)
        for one in own:
            mask = decoded(one["segmentation"])
            assert mask.sum() == one["area"]
            assert one["iscrowd"] == 0
            left, top, width, height = one["bbox"]
            box = np.zeros_like(mask)
            box[top : top + height, left : left + width] = True
            assert not (mask & ~box).any()
            for side in (mask[top], mask[top + height - 1]):
                assert side.any()
            for side in (mask[:, left], mask[:, left + width - 1]):
                assert side.any()
            assert (again[mask] == 1).all(), "masks overlap"
            again[mask] = one["category_id"] + 1
        assert np.array_equal(again, labels)


def test_images_are_the_scenes(folder):
    for number, other in ((1, 5), (5, 1)):
        scene = scene_of(SMALL, "train", number, seed=7)
        image = pixels(folder / "images" / "training" / f"scene_{number:06d}.jpg").astype(float)
        another = scene_of(SMALL, "train", other, seed=7)
        # JPEG keeps colours at half the resolution, which costs most of the noise.
        assert np.abs(image - scene.image).mean() < 8 < 30 < np.abs(image - another.image).mean()
        labels = pixels(folder / "annotations" / "training" / f"scene_{number:06d}.png")
        assert np.array_equal(labels, scene.labels + 1)


def test_files_do_not_depend_on_the_number_of_processes(folder, tmp_path):
    again = write_scenes(tmp_path / "two", train=5, val=3, seed=7, settings=SMALL, workers=2)
    assert contents(again) == contents(folder)


def test_files_depend_on_the_seed_but_not_on_how_many(folder, tmp_path):
    fewer = write_scenes(tmp_path / "fewer", train=2, val=0, seed=7, settings=SMALL)
    whole = contents(folder)
    same = {k: v for k, v in contents(fewer).items() if k.endswith((".jpg", ".png"))}
    assert len(same) == 4
    assert all(whole[name] == value for name, value in same.items())
    assert not (fewer / "images" / "validation").exists()
    other = contents(write_scenes(tmp_path / "other", train=2, val=0, seed=8, settings=SMALL))
    assert all(other[name] != value for name, value in same.items())


def test_a_folder_in_use_is_left_alone(folder, tmp_path):
    before = contents(folder)
    with pytest.raises(UserError, match="which holds scenes; choose another, or add --overwrite"):
        write_scenes(folder, train=1, val=1)
    assert contents(folder) == before
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"with other files in it \(no scenes.json\)"):
            write_scenes(mine, train=1, val=1, overwrite=overwrite)
    with pytest.raises(UserError, match="a file, expected a folder"):
        write_scenes(mine / "thesis.txt", train=1, val=1, overwrite=True)
    assert contents(tmp_path) == {"mine/thesis.txt": hashlib.sha256(b"precious").hexdigest()}


def test_overwrite_replaces_everything(tmp_path):
    out = tmp_path / "scenes"
    write_scenes(out, train=3, val=1, settings=SMALL)
    write_scenes(out, train=1, val=0, settings=SMALL, overwrite=True)
    assert [p.name for p in (out / "images" / "training").iterdir()] == ["scene_000001.jpg"]
    assert not (out / "images" / "validation").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["scenes"], "a temporary folder is left"


def test_an_empty_folder_is_filled(tmp_path):
    out = tmp_path / "empty"
    out.mkdir()
    write_scenes(out, train=1, val=0, settings=SMALL)
    assert (out / "scenes.json").is_file()


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        write_scenes(tmp_path / "scenes", train=3, val=0, settings=SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": 0, "val": 0}, "got 0 \\+ 0 scenes, expected at least one"),
        ({"train": -1, "val": 5}, "got -1 \\+ 5 scenes"),
        ({"train": 1, "val": 1, "seed": -1}, "got seed -1"),
    ],
)
def test_impossible_requests_are_refused(arguments, message, tmp_path):
    with pytest.raises(UserError, match=message):
        write_scenes(tmp_path / "scenes", **arguments)
    assert not list(tmp_path.iterdir())


def test_run_lengths_start_with_zeros_and_cover_the_image():
    rng = np.random.default_rng(0)
    for shape in ((1, 1), (1, 7), (7, 1), (5, 8)):
        for part in (0.0, 0.3, 1.0):
            mask = rng.random(shape) < part
            lengths = run_lengths(mask)
            assert sum(lengths) == mask.size
            assert all(length > 0 for length in lengths[1:])
            assert np.array_equal(decoded({"size": shape, "counts": lengths}), mask)


def test_contact_sheet_shows_every_scene(tmp_path):
    made = [scene_of(SMALL, "val", number, seed=0) for number in range(1, 6)]
    contact_sheet(made, tmp_path / "sheet.png", columns=3)
    sheet = pixels(tmp_path / "sheet.png")
    assert sheet.shape == (2 * (2 * 128 + 12) - 6, 3 * 134 - 6, 3)
    assert np.array_equal(sheet[:128, :128], made[0].image)
    top = 2 * 128 + 12
    assert np.array_equal(sheet[top : top + 128, 134 : 134 + 128], made[4].image)
    assert (sheet[top:, 268:] == 255).all(), "the last place is not empty"
