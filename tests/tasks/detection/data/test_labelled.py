"""What the readers of other formats share: what is passed over is counted, what is odd refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from other_data import HEIGHT, TRAIN, WIDTH, picture_of
from PIL import Image
from test_converting import FORMATS, convert, described, write_yolo
from test_kinds import check_data

from spanetv2.errors import UserError


def converted(root: Path, split: str = "train") -> dict[str, Any]:
    return json.loads((root / "annotations" / f"instances_{split}.json").read_text())


@pytest.mark.parametrize(
    "name", ["YOLO", "YOLO, labels beside", "VOC", "VOC of Roboflow", "labelme"]
)
def test_images_without_annotations_are_empty_and_counted_in_every_format(tmp_path, name) -> None:
    root = tmp_path / "theirs"
    root.mkdir()
    FORMATS[name](root)
    first = min(path for path in root.rglob("*.jpg") if "val" not in str(path))
    bare = first.with_name("train_bare.jpg")
    bare.write_bytes(first.read_bytes())
    if name == "VOC":
        with (root / "ImageSets" / "Main" / "train.txt").open("a") as file:
            file.write("train_bare\nnowhere\n")
        (root / "SegmentationClass").mkdir()
        picture_of([]).save(root / "SegmentationClass" / "train_bare.png")
    told = convert(root, tmp_path / "out")
    assert "train: 3 images, 4 objects (leaf 2, stone 2)" in told
    assert "1 images without a label file, taken for empty; the first: " in told
    missing = "1 names in ImageSets/Main without an image, passed over; the first: nowhere"
    assert (missing in told) == (name == "VOC")
    masks = "1 images in folders without an annotated one, passed over"
    assert (masks in told) == (name == "VOC")
    assert check_data(tmp_path / "out")[0] == 0


@pytest.mark.parametrize("name", ["YOLO", "YOLO of Roboflow", "YOLO, labels beside"])
def test_labels_without_an_image_are_counted_and_the_first_is_named(tmp_path, name) -> None:
    root = tmp_path / "theirs"
    root.mkdir()
    FORMATS[name](root)
    first = min(path for path in root.rglob("0001.txt") if "train" in str(path))
    for stem in ("gone", "lost"):
        first.with_name(f"{stem}.txt").write_text(first.read_text())
    first.with_name("classes.txt").write_text("leaf\nstone\n")
    (min(root.rglob("0001.jpg")).parent / "README.txt").write_bytes(b"taken in June \xff")
    told = " ".join(convert(root, tmp_path / "out").split())
    assert "2 label files without an image in these, passed over; the first: " in told
    assert f"{first.with_name('gone.txt')}" in told


def test_names_are_taken_as_they_are_written(tmp_path: Path) -> None:
    root = tmp_path / "theirs"
    root.mkdir()
    write_yolo(root, images="images/{split}", labels="labels/{split}")
    for k, (text, names) in enumerate(
        {
            "names: [yes, no]": ["yes", "no"],
            "nc: 2\nnames: {1: 1.0, 0: 01}": ["01", "1.0"],
            "test: ../test/images\nnames:\n- ~\n- 'null'": ["~", "null"],
        }.items()
    ):
        described(root, text)
        told = convert(root, tmp_path / f"out{k}")
        found = [one["name"] for one in converted(tmp_path / f"out{k}")["categories"]]
        assert found == names
        assert ("test split that is named but has no images" in told) == (k == 2)


def test_images_that_share_their_annotations_are_refused(tmp_path: Path) -> None:
    yolo, voc = tmp_path / "yolo", tmp_path / "voc"
    for name, root in (("YOLO", yolo), ("VOC of Roboflow", voc)):
        root.mkdir()
        FORMATS[name](root)
    picture_of([]).save(yolo / "images" / "train" / "0001.png")
    with pytest.raises(UserError, match=r"0001.txt: labels of .*0001.jpg and of .*0001.png, expec"):
        convert(yolo, tmp_path / "out")
    (voc / "train" / "0002.xml").write_text((voc / "train" / "0001.xml").read_text())
    with pytest.raises(UserError, match=r"0002.xml: its image is .*0001.jpg, which is that of .*0"):
        convert(voc, tmp_path / "out")


@pytest.mark.parametrize("name", ["YOLO", "VOC of Roboflow", "labelme"])
def test_boxes_without_area_are_left_out_and_counted(tmp_path: Path, name: str) -> None:
    root = tmp_path / "theirs"
    root.mkdir()
    FORMATS[name](root)
    if name == "YOLO":
        file = root / "labels" / "train" / "0001.txt"
        file.write_text(file.read_text() + "0 0.5 0.5 0 0\n")
    elif name == "labelme":
        file = root / "train" / "0001.json"
        made = json.loads(file.read_text())
        shape = {"label": "leaf", "shape_type": "rectangle", "points": [[5, 5], [5, 5]]}
        made["shapes"].append(shape)
        file.write_text(json.dumps(made))
    else:
        file = root / "train" / "0001.xml"
        swapped = file.read_text().replace("<xmin>14</xmin>", "<xmin>42</xmin>")
        file.write_text(swapped.replace("<xmax>42</xmax>", "<xmax>14</xmax>"))
    told = convert(root, tmp_path / "out")
    assert "1 objects left out: boxes outside the image or without area; the first: " in told
    assert "pixels, expected at least 1 x 1" in " ".join(told.split())
    record = converted(tmp_path / "out")
    assert all(min(one["bbox"][2:]) > 0 < one["area"] for one in record["annotations"])
    assert check_data(tmp_path / "out")[0] == 0


@pytest.mark.parametrize("name", ["VOC of Roboflow", "labelme"])
def test_annotations_for_another_size_are_refused_and_of_stored_pixels_kept(tmp_path, name) -> None:
    root = tmp_path / "theirs"
    root.mkdir()
    FORMATS[name](root)
    file = root / "train" / ("0001.json" if name == "labelme" else "0001.xml")
    whole = file.read_text()
    if name == "labelme":
        sized = json.dumps({**json.loads(whole), "imageWidth": 960, "imageHeight": HEIGHT})
    else:
        sized = whole.replace(f"<width>{WIDTH}", "<width>960")
    file.write_text(sized)
    with pytest.raises(
        UserError, match=r"0001.jpg: got 96 x 64 pixels, expected 960 x 64 as .*000"
    ):
        convert(root, tmp_path / "out")
    file.write_text(sized.replace("960", "96"))
    exif = Image.Exif()
    exif[274] = 6
    picture_of(TRAIN[0]).save(root / "train" / "0001.jpg", exif=exif)
    convert(root, tmp_path / "out")
    sizes = [(one["width"], one["height"]) for one in converted(tmp_path / "out")["images"]]
    assert sizes == [(WIDTH, HEIGHT)] * 2  # as stored: the reader turns the boxes' image back
    assert check_data(tmp_path / "out")[0] == 0


@pytest.mark.parametrize("name", ["VOC of Roboflow", "labelme"])
def test_images_in_no_split_beside_those_of_splits_are_counted(tmp_path: Path, name: str) -> None:
    root = tmp_path / "theirs"
    root.mkdir()
    FORMATS[name](root)
    (root / "train").rename(root / "first")
    told = convert(root, tmp_path / "out")
    assert "2 images in no folder named after a split, passed over; the first: " in told
    assert "val: 1 images" in told


@pytest.mark.parametrize("name", ["YOLO", "VOC"])
def test_an_image_of_two_splits_is_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "theirs"
    root.mkdir()
    FORMATS[name](root)
    if name == "YOLO":
        text = (root / "data.yaml").read_text()
        (root / "data.yaml").write_text(text.replace("train: images/train", "train: images"))
    else:
        with (root / "ImageSets" / "Main" / "train.txt").open("a") as file:
            file.write("val_0001\n")
    with pytest.raises(UserError, match=r"got 1 of 1 images of val that are images of train, too"):
        convert(root, tmp_path / "out")
