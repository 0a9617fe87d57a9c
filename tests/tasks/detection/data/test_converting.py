"""Other formats in COCO's layout: written as their tools write them, then checked and opened."""

import json
from pathlib import Path
from typing import Any

import pytest
from other_data import HEIGHT, TRAIN, VAL, WIDTH, picture_of, write_set
from test_kinds import check_data, open_data
from typer.testing import CliRunner

from spanetv2.cli.main import make_app
from spanetv2.errors import UserError

NAMES = {1: "leaf", 2: "stone"}
SPLITS = {"train": TRAIN, "val": VAL}


def convert(*arguments: object) -> str:
    """What ``spanetv2 convert-data`` prints."""
    result = CliRunner().invoke(make_app(), ["convert-data", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def pictures(folder: Path, images: list[Any]) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{k:04d}.jpg" for k in range(1, len(images) + 1)]
    for path, objects in zip(paths, images, strict=True):
        picture_of(objects).save(path)
    return paths


def yolo_line(category: int, box: list[int], *, polygon: bool) -> str:
    left, top, right, bottom = box
    if polygon:
        shares = [left, top, right, top, right, bottom, left, bottom]
        shares = [v / (WIDTH, HEIGHT)[i % 2] for i, v in enumerate(shares)]
    else:
        shares = [(left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT]
        shares += [(right - left) / WIDTH, (bottom - top) / HEIGHT]
    return " ".join([str(category - 1), *(f"{v:.6f}" for v in shares)])


def write_yolo(root: Path, *, images: str, labels: str, polygon: bool = False) -> None:
    for split, objects in SPLITS.items():
        name = "valid" if split == "val" and "{split}/" in images else split
        folder = root / labels.format(split=name)
        folder.mkdir(parents=True, exist_ok=True)
        for path, boxes in zip(
            pictures(root / images.format(split=name), objects), objects, strict=True
        ):
            lines = [yolo_line(category, box, polygon=polygon) for category, *box in boxes]
            (folder / f"{path.stem}.txt").write_text("\n".join(lines) + "\n")


def write_voc(root: Path, *, lists: bool) -> None:
    for split, objects in SPLITS.items():
        place = root / ("JPEGImages" if lists else split)
        images = pictures(place / split if lists else place, objects)
        if lists:
            images = [image.rename(place / f"{split}_{image.name}") for image in images]
            (root / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
            text = "".join(f"{image.stem}\n" for image in images)
            (root / "ImageSets" / "Main" / f"{split}.txt").write_text(text)
        folder = root / "Annotations" if lists else place
        folder.mkdir(parents=True, exist_ok=True)
        for image, boxes in zip(images, objects, strict=True):
            inner = "".join(
                f"<object><name>{NAMES[category]}</name><difficult>0</difficult><bndbox>"
                f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
                for category, x1, y1, x2, y2 in boxes
            )
            size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
            text = f"<annotation><filename>{image.name}</filename>{size}{inner}</annotation>"
            (folder / f"{image.stem}.xml").write_text(text)


def write_labelme(root: Path) -> None:
    for split, objects in SPLITS.items():
        for image, boxes in zip(pictures(root / split, objects), objects, strict=True):
            shapes = [
                {
                    "label": NAMES[category],
                    "shape_type": "polygon" if category == 1 else "rectangle",
                    "points": [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]
                    if category == 1
                    else [[x2, y2], [x1, y1]],
                }
                for category, x1, y1, x2, y2 in boxes
            ]
            shapes.append({"label": "leaf", "shape_type": "circle", "points": [[1, 1], [2, 2]]})
            made = {"version": "5.0", "shapes": shapes, "imagePath": image.name, "imageData": None}
            image.with_suffix(".json").write_text(json.dumps(made))


def described(root: Path, text: str = "names:\n  0: leaf\n  1: stone\n") -> None:
    (root / "data.yaml").write_text(f"path: .\ntrain: images/train\nval: images/val\n{text}")


FORMATS = {
    "YOLO": lambda root: (
        write_yolo(root, images="images/{split}", labels="labels/{split}"),
        described(root),
    ),
    "YOLO, polygons": lambda root: (
        write_yolo(root, images="images/{split}", labels="labels/{split}", polygon=True),
        described(root),
    ),
    "YOLO of Roboflow": lambda root: (
        write_yolo(root, images="{split}/images", labels="{split}/labels"),
        (root / "data.yaml").write_text(
            "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['leaf', 'stone']\n"
        ),
    ),
    "YOLO of another machine": lambda root: (
        write_yolo(root, images="{split}/images", labels="{split}/labels"),
        (root / "data.yaml").write_text(
            "train: /x/set/train/images\nval: /x/set/valid/images\nnames: ['leaf', 'stone']\n"
        ),
    ),
    "YOLO, labels beside": lambda root: (
        write_yolo(root, images="{split}/", labels="{split}/"),
        (root / "classes.txt").write_text("leaf\nstone\n"),
    ),
    "VOC": lambda root: write_voc(root, lists=True),
    "VOC of Roboflow": lambda root: write_voc(root, lists=False),
    "labelme": write_labelme,
}


@pytest.mark.parametrize("name", FORMATS)
def test_other_formats_become_the_same_data(tmp_path: Path, name: str) -> None:
    root = tmp_path / "theirs"
    root.mkdir()
    FORMATS[name](root)
    out = tmp_path / "coco"
    told = convert(root, out)
    assert "train: 2 images, 4 objects (leaf 2, stone 2)" in told
    assert "val: 1 images, 2 objects (leaf 1, stone 1)" in told
    assert ("shapes of type circle, passed over" in told) == (name == "labelme")
    status, said = check_data(out)
    assert status == 0, said
    data, wanted = open_data(out), open_data(write_set(tmp_path / "wanted"))
    assert data.classes == ["leaf", "stone"]
    for part, other in ((data.train, wanted.train), (data.val, wanted.val)):
        assert part is not None
        assert other is not None
        for i in range(len(part)):
            mine, theirs = part.target(i), other.target(i)
            assert (mine["boxes"] - theirs["boxes"]).abs().max() < 0.01
            assert mine["labels"].tolist() == theirs["labels"].tolist()
            if name == "YOLO, polygons":
                assert (mine["masks"] != theirs["masks"]).float().mean() < 0.005
            elif name == "labelme":
                assert mine["has_mask"].tolist() == [True, False]
            else:
                assert "masks" not in mine


def test_a_share_is_held_out_once_and_for_all(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    images = pictures(whole / "images", [TRAIN[0]] * 10)
    (whole / "labels").mkdir()
    (whole / "classes.txt").write_text("leaf\nstone\n")
    for image in images[:-1]:
        lines = [yolo_line(category, box, polygon=False) for category, *box in TRAIN[0]]
        (whole / "labels" / f"{image.stem}.txt").write_text("\n".join(lines))
    told = convert(whole, tmp_path / "plain")
    assert "train: 10 images, 18 objects" in told
    assert "1 images without a label file, taken for empty" in told
    assert "not split: hold out a part with --val-share 0.2" in told
    held = []
    for k, seed in enumerate((0, 0, 1)):
        out = tmp_path / f"out{k}"
        assert "val: 3 images" in convert(whole, out, "--val-share", 0.3, "--seed", seed)
        held.append(sorted(path.name for path in (out / "val").iterdir()))
        assert len(list((out / "train").iterdir())) == 7
        assert not {path.name for path in (out / "train").iterdir()} & set(held[-1])
    assert held[0] == held[1] != held[2]
    # COCO's own that is not split
    again = tmp_path / "again"
    told = convert(tmp_path / "plain", again, "--val-share", 0.2)
    assert "val: 2 images" in told
    assert check_data(again)[0] == 0
    with pytest.raises(UserError, match=r"the data are split \(train, val\)"):
        convert(again, tmp_path / "more", "--val-share", 0.2)


FAULTS = [
    ("labels/0001.txt", "0 0.5 0.5 0.2", r"0001.txt, line 1: '0 0.5 0.5 0.2', expected a class"),
    ("labels/0001.txt", "0 0.5 0.5 0.2 x", r"line 1: .* expected a class number and four shares"),
    ("labels/0001.txt", "0 50 50 20 20", r"line 1: .* expected shares from 0 to 1"),
    ("labels/0001.txt", "0 nan 0.5 0.2 0.2", r"line 1: .* expected shares from 0 to 1"),
    ("labels/0001.txt", "\n7 0.5 0.5 0.2 0.2", r"line 2: class 7, expected 0 to 1 as named"),
    ("data.yaml", "names: [", "data.yaml: not YAML"),
    ("images/0001.jpg", "nothing", r"0001.jpg: not an image"),
    ("data.yaml", "names: [cat, cat]", "data.yaml: classes 0 and 1 are both 'cat', expected"),
    ("data.yaml", "names: [cat, ]\nnc: 5", "data.yaml: nc is 5, but there are 1 names"),
    ("data.yaml", "names: {a: cat}", "data.yaml: names by a, expected numbers from 0"),
    ("data.yaml", "names: {0: cat, 00: dog}", "data.yaml: a number with two names"),
    ("data.yaml", "names: [[a]]", r"data.yaml: class 0 is \['a'\], expected a name"),
    ("classes.txt", "leaf\n\nstone", "classes.txt: class 1 is '', expected a name"),
    ("classes.txt", "leaf\nleaf", "classes.txt: classes 0 and 1 are both 'leaf'"),
    ("data.yaml", "val: images/gone", "data.yaml: val is 'images/gone', where no images are"),
    ("data.yaml", "train: [images, gone]", "data.yaml: train is 'gone', where no images are"),
]


@pytest.mark.parametrize(("file", "text", "message"), FAULTS)
def test_what_cannot_be_read_is_named_and_nothing_is_written(tmp_path, file, text, message) -> None:
    root = tmp_path / "theirs"
    pictures(root / "images", TRAIN)
    (root / "labels").mkdir()
    (root / "classes.txt").write_text("leaf\nstone\n")
    (root / file).write_text(text)
    with pytest.raises(UserError, match=message):
        convert(root, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["theirs"]


def test_voc_faults_and_difficult_objects(tmp_path: Path) -> None:
    root = tmp_path / "theirs"
    root.mkdir()
    write_voc(root, lists=False)
    file = root / "train" / "0001.xml"
    whole = file.read_text()
    file.write_text(whole.replace("<difficult>0", "<difficult>1", 1))
    told = convert(root, tmp_path / "out")
    assert "1 difficult objects, made crowds" in told
    assert "left out of training: 1 crowds (leaf 1)" in open_data(tmp_path / "out").describe()
    for text, message in (
        ("<annotation>", "0001.xml: not XML"),
        (whole.replace("<xmin>14</xmin>", ""), "0001.xml: leaf with bndbox .* expected xmin"),
        (whole.replace("0001.jpg", "gone.jpg"), None),
    ):
        file.write_text(text)
        if message is None:
            convert(root, tmp_path / "beside")  # the image of the same name
            continue
        with pytest.raises(UserError, match=message):
            convert(root, tmp_path / "faulty")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--val-share", "1.5"], "expected a share between 0 and 1"),
        (["--format", "xml"], "expected one of yolo, voc, labelme, coco"),
        ([], "got no annotations of split 'train'"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, options, message) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match=message):
        convert(tmp_path / "in", tmp_path / "out", *options)
    with pytest.raises(UserError, match="which is there, expected a new folder"):
        convert(tmp_path / "in", tmp_path / "in")
    with pytest.raises(UserError, match="expected a folder"):
        convert(tmp_path / "gone", tmp_path / "out")


@pytest.mark.parametrize("write", [write_labelme, lambda root: write_voc(root, lists=False)])
def test_a_bad_link_is_named_and_a_hidden_file_left_out(tmp_path: Path, write: Any) -> None:
    root = tmp_path / "theirs"
    write(root)
    ending = ".json" if write is write_labelme else ".xml"
    (root / f".hidden{ending}").write_text("nothing")
    convert(root, tmp_path / "out")
    bad = root / f"0{ending}"  # the first
    bad.symlink_to("x" * 300)
    with pytest.raises(UserError, match=f"^{bad}: the name is too long .*; expected "):
        convert(root, tmp_path / "more")
