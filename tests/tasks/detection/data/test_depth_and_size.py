"""Images of more than 8 bits, images beyond Pillow's limit, and sizes that files do not say."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from other_data import write_set
from PIL import Image
from small_detectors import light_detector
from test_kinds import check_data, each, open_data

from spanetv2.api import evaluate as evaluate_checkpoint
from spanetv2.api import predict as predict_files
from spanetv2.data.header import read_headers
from spanetv2.data.images import ImageError, read_image
from spanetv2.data.white import find_white
from spanetv2.errors import UserError
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.tasks.detection.weights import load_detector, save_detector


def save_deep(highest: int):
    """Writes the image in 16 bits, its brightest pixel as bright as this."""

    def save(picture: Image.Image, path: Path) -> None:
        grey = np.asarray(picture.convert("L")).astype(np.float64)
        values = np.rint(grey / grey.max() * highest).astype(np.uint16)
        Image.fromarray(values).save(path, format="PNG")

    return save


@pytest.mark.parametrize(
    ("highest", "white"),
    [(200, 255), (255, 255), (256, 1023), (4000, 4095), (4096, 16383), (60000, 65535)],
)
def test_white_is_one_value_for_a_data_set(tmp_path: Path, highest: int, white: int) -> None:
    root = write_set(tmp_path / "data", save=save_deep(highest))
    status, told = check_data(root)
    assert status == 0, told
    assert f"2 grey images of more than 8 bits: white is {white}" in told
    data = open_data(root)
    assert data.detector.white == white
    assert f"white is {white} (detector.white)" in data.describe()
    for part in (data.train, data.val):
        assert part is not None
        part.transform = None
        assert part[0][0].max().item() == pytest.approx(highest / white, abs=0.5 / 255)
    given = open_data(root, detector=DetectorOptions(white=65535))
    assert given.detector.white == 65535
    given.train.transform = None
    assert given.train[0][0].max().item() == pytest.approx(highest / 65535, abs=0.5 / 255)


def test_white_is_stored_with_the_weights_and_used_everywhere(tmp_path: Path) -> None:
    root = write_set(tmp_path / "data", save=save_deep(1000))
    seen: dict[str, float] = {}
    for name, white in (("old", None), ("new", 1023)):
        detector = light_detector(2, score_threshold=0.0, white=white)
        path = tmp_path / f"{name}.safetensors"
        save_detector(detector, path, classes=["leaf", "stone"], category_ids=[1, 2])
        again, checkpoint = load_detector(path)
        assert again.options.white == white
        assert ("white" in checkpoint.extra["detector"]) == (white is not None)
        out = tmp_path / f"found_{name}"
        predict_files(path, root / "val", out=out, device="cpu")
        with Image.open(out / "0001.png") as opened:
            seen[name] = float(np.asarray(opened).max())
        done = evaluate_checkpoint(path, root, picture=tmp_path / f"{name}.png", device="cpu")
        assert done.measurement.images == 1
    assert seen["new"] > 240
    assert seen["old"] < 10


def test_what_is_brighter_than_white_is_white(tmp_path: Path) -> None:
    values = np.array([[0, 511, 1023, 2000]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert np.asarray(read_image(tmp_path / "a.png", white=1023)).tolist() == [[0, 127, 255, 255]]
    assert np.asarray(read_image(tmp_path / "a.png")).tolist() == [[0, 2, 4, 8]]
    assert find_white([tmp_path / "a.png"]) == 4095
    assert find_white([]) is None
    with pytest.raises(ImageError, match="no such file"):
        find_white([tmp_path / "gone.png"])
    with pytest.raises(UserError, match="white is 0"):
        DetectorOptions(white=0)


# sizes -------------------------------------------------------------------------------------------

SIZES = {
    "whole floats": (each("images", width=96.0, height=64.0), 0),
    "missing": (lambda made, split: [i.pop("width") for i in made["images"]], 2),
    "null": (each("images", width=None, height=None), 2),
    "zero": (each("images", width=0, height=0), 2),
    "negative": (each("images", width=-1, height=-1), 2),
    "text": (each("images", width="96", height="64"), 2),
    "broken floats": (each("images", width=95.5, height=float("nan")), 2),
}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_that_the_file_does_not_say_are_read_from_the_images(tmp_path, name) -> None:
    change, count = SIZES[name]
    root = write_set(tmp_path / "data", change)
    status, told = check_data(root)
    assert status == 0, told
    data = open_data(root)
    assert data.train.sizes.tolist() == [[64, 96]] * 2
    said = "2 images without width and height in whole pixels: read from the files"
    for text in (told.replace("\n", " "), data.describe()):
        assert (said in text) == bool(count)


# the limit of pixels -----------------------------------------------------------------------------


@pytest.fixture
def small_limit(monkeypatch: Any) -> int:
    """As if all images were huge."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)
    return 5000


def test_the_limit_of_pixels_can_be_raised(tmp_path: Path, weights: Path, small_limit: int) -> None:
    root = write_set(tmp_path / "data")
    status, told = check_data(root)
    assert status == 1
    said = "6,144 pixels, expected at most 5,000; shrink it, or, for a file that "
    assert said in told.replace("\n", " ")
    assert "--max-pixels 6144" in told.replace("\n", " ")
    with pytest.raises(UserError, match=r"expected at most 5,000; .* --data.max_pixels 6144"):
        open_data(root)
    assert check_data(root, "--max-pixels", 6144)[0] == 0
    data = open_data(root, max_pixels=6144)
    assert data.train[0][0].shape[0] == 3
    assert small_limit == Image.MAX_IMAGE_PIXELS  # as it was
    for workers in (0, 1):
        options: dict[str, Any] = {"out": tmp_path / "out", "device": "cpu", "workers": workers}
        options["overwrite"] = True
        refused = predict_files(weights, root / "val", **options)
        assert refused.failed == 1
        assert "--max-pixels 6144" in refused.failures[0].reason
        assert predict_files(weights, root / "val", max_pixels=7000, **options).failed == 0
    refused = evaluate_checkpoint(weights, root, device="cpu", max_pixels=6144)
    assert refused.measurement.failed == 0
    with pytest.raises(UserError, match=r"data\.max_pixels is 0, expected 1 or more"):
        open_data(root, max_pixels=0)


def test_a_limit_is_told_as_it_is(tmp_path: Path) -> None:
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    for limit in (1000, 500):  # of which the second is what Pillow calls an error
        with pytest.raises(ImageError, match=rf"1,200 pixels, expected at most {limit:,}"):
            read_image(tmp_path / "a.png", max_pixels=limit)
        [found] = read_headers([tmp_path / "a.png"], max_pixels=limit)
        assert isinstance(found, ImageError)
        assert f"expected at most {limit:,}" in found.reason
    assert read_image(tmp_path / "a.png", max_pixels=1200).size == (40, 30)


def test_json_of_a_run_holds_no_white_where_there_is_none(tmp_path: Path) -> None:
    assert "white" not in DetectorOptions().to_dict()
    assert DetectorOptions(**json.loads(json.dumps(DetectorOptions(white=9).to_dict()))).white == 9
