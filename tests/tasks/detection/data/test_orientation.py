"""Images with an EXIF orientation: one rule for all eight, and three ways to say otherwise."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coco_data import rectangle, rectangle_mask, runs
from other_data import COLOURS, HEIGHT, WIDTH, Record, write_set
from PIL import Image, ImageOps
from test_kinds import check_data, open_data

from spanetv2.api import evaluate as evaluate_checkpoint

SIDEWAYS = (5, 6, 7, 8)
# What turns the image as shown into the pixels that are stored with an orientation.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def stored(picture: Image.Image, orientation: int) -> Image.Image:
    turn = STORED[orientation]
    return picture if turn is None else picture.transpose(turn)


def save_turned(orientation: int, suffix: str = ".jpg"):
    def save(picture: Image.Image, path: Path) -> None:
        exif = picture.getexif()
        exif[0x0112] = orientation
        turned = stored(picture, orientation)
        format = {".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".webp": "WEBP"}[suffix]
        turned.save(path, format=format, exif=exif, quality=95, subsampling=0)
        with Image.open(path) as opened:
            assert ImageOps.exif_transpose(opened).size == picture.size

    return save


def box_as_stored(box: list[float], orientation: int) -> list[float]:
    """Left, top, width, height of an object in the stored pixels."""
    left, top, width, height = map(int, box)
    mask = Image.fromarray(
        255 * rectangle_mask(HEIGHT, WIDTH, (left, top, left + width, top + height))
    )
    left, top, right, bottom = stored(mask, orientation).getbbox() or (0, 0, 0, 0)
    return [left, top, right - left, bottom - top]


def written(drawn: str, sizes: str, orientation: int, code: str):
    """Annotations that were drawn in some way, with sizes of some kind.

    Args:
        drawn: shown, stored or percent.
        sizes: shown, stored or missing.
        orientation: EXIF's.
        code: polygons, runs or boxes.
    """
    sideways = orientation in SIDEWAYS
    shown, kept = (WIDTH, HEIGHT), (HEIGHT, WIDTH) if sideways else (WIDTH, HEIGHT)

    def change(made: Record, split: str) -> None:
        for image in made["images"]:
            image["width"], image["height"] = shown if sizes == "shown" else kept
            if sizes == "missing":
                del image["width"], image["height"]
        for a in made["annotations"]:
            box = a["bbox"]
            if drawn == "stored":
                box = box_as_stored(box, orientation)
            elif drawn == "percent":
                scales = (kept[0] / shown[0], kept[1] / shown[1]) * 2
                box = [v * s for v, s in zip(box, scales, strict=True)]
            left, top, width, height = a["bbox"] = box
            corners = (left, top, left + width, top + height)
            a["area"] = width * height
            a["segmentation"] = rectangle(*corners)  # type: ignore[arg-type]
            if code == "runs":
                size = kept if drawn in ("stored", "percent") else shown
                whole = tuple(round(v) for v in corners)
                a["segmentation"] = runs(rectangle_mask(size[1], size[0], whole))
            elif code == "boxes":
                a["segmentation"] = []

    return change


def assert_fits(data: Any) -> None:
    """Boxes and masks lie on the objects, whose colours are known."""
    data.train.transform = None
    for split in (data.train, data.val):
        for image, target in split:
            pixels = (image * 255).permute(1, 2, 0).numpy()
            assert len(target["labels"]) == 2
            for i, label in enumerate(target["labels"].tolist()):
                left, top, right, bottom = target["boxes"][i].round().int().tolist()
                colour = np.array(COLOURS[label])
                near = np.abs(pixels - colour).max(-1) < 40
                place = np.zeros(near.shape, dtype=bool)
                place[top:bottom, left:right] = True
                assert (near & place).sum() / (near | place).sum() > 0.85
                if "masks" in target:
                    mask = target["masks"][i].numpy().astype(bool)
                    assert (mask & place).sum() / (mask | place).sum() > 0.85


# how it was drawn, which sizes are in the file, what is said, whether the rule finds it by itself
WAYS = [
    ("shown", "shown", "auto", "as shown"),
    ("shown", "missing", "auto", "as shown"),
    ("stored", "stored", "stored", "as stored"),
    ("shown", "stored", "shown", "as shown"),
    ("stored", "shown", "stored", "as stored"),
    ("percent", "stored", "percent", "as shares of the image"),
]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("drawn", "sizes", "option", "how"), WAYS)
def test_objects_lie_where_they_were_drawn(
    tmp_path: Path, orientation: int, drawn: str, sizes: str, option: str, how: str
) -> None:
    code = ("polygons", "runs", "boxes")[orientation % 3]
    change = written(drawn, sizes, orientation, code)
    root = write_set(tmp_path / "data", change, save=save_turned(orientation))
    data = open_data(root, orientation=option)
    assert_fits(data)
    said = data.describe()
    if orientation == 1:
        assert "EXIF" not in said
    elif orientation in SIDEWAYS or option != "percent":
        assert re.search(rf"2 of 2 images have an EXIF orientation; .*: 2 {how}", said)
    if option == drawn == sizes == "stored" and orientation in SIDEWAYS:
        assert_fits(open_data(root))  # which the sizes say by themselves


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp"])
def test_orientations_are_found_in_every_format(tmp_path: Path, suffix: str) -> None:
    change = written("shown", "missing", 6, "polygons")
    root = write_set(tmp_path / "data", change, save=save_turned(6, suffix))
    data = open_data(root)
    assert "2 of 2 images have an EXIF orientation" in data.describe()
    assert_fits(data)


def test_check_data_says_so_and_draws_three(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    change = written("percent", "stored", 6, "polygons")
    root = write_set(tmp_path / "data", change, save=save_turned(6))
    status, told = check_data(root)
    assert status == 0
    assert "train: 0 errors, 2 remarks" in told
    assert "2 of 2 images have an EXIF orientation" in told
    assert "--data.orientation shown, stored or percent (Label Studio)" in told.replace("\n", " ")
    pictures = sorted(path.name for path in (tmp_path / "check-data").iterdir())
    assert pictures == ["train-1-0001.png", "train-2-0002.png", "val-1-0001.png"]
    # taken as stored: the picture is as high as the stored pixels
    with Image.open(tmp_path / "check-data" / pictures[0]) as opened:
        assert opened.height > opened.width
    place = tmp_path / "seen"
    _, told = check_data(root, "--orientation", "percent", "--pictures", place)
    assert "2 as shares of the image" in told
    with Image.open(place / pictures[0]) as opened:
        assert opened.width > opened.height
    # nothing is drawn of images that lie as they are
    check_data(write_set(tmp_path / "plain"), "--pictures", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_evaluation_asks_the_same(tmp_path: Path, weights: Path) -> None:
    change = written("percent", "stored", 8, "polygons")
    root = write_set(tmp_path / "data", change, save=save_turned(8))
    done = evaluate_checkpoint(
        weights, root, orientation="percent", json=tmp_path / "f.json", device="cpu"
    )
    assert any("1 as shares of the image" in note for note in done.notes)
    assert json.loads((tmp_path / "f.json").read_text())["objects"] == 2


def test_another_word_is_refused(tmp_path: Path) -> None:
    root = write_set(tmp_path / "data")
    status, told = check_data(root, "--orientation", "turned")
    assert status == 1
    assert "got orientation 'turned', expected one of auto, shown, stored, percent" in told
