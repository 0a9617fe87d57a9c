"""Where tools keep annotations and images, and how they write paths."""

import json
import re
import shutil
import unicodedata
from pathlib import Path

import pytest
from other_data import write_set
from test_kinds import check_data, open_data

from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.image_files import ImageFiles
from spanetv2.tasks.detection.data.layout import find_coco


def moved(root: Path, places: dict[str, tuple[str, str]]) -> Path:
    """The data set in another layout: split -> (annotation file, folder of images)."""
    source = write_set(root.parent / "coco")
    for split, (file, folder) in places.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(source / "annotations" / f"instances_{split}.json", root / file)
        for image in (source / split).iterdir():
            shutil.copy(image, root / folder / image.name)
    return root


LAYOUTS = {
    "Roboflow": {
        "train": ("train/_annotations.coco.json", "train"),
        "val": ("valid/_annotations.coco.json", "valid"),
    },
    "two exports of Label Studio": {
        "train": ("train/result.json", "train/images"),
        "val": ("val/result.json", "val/images"),
    },
    "two exports of CVAT": {
        "train": ("Train/annotations/instances_default.json", "Train/images/default"),
        "val": ("Validation/annotations/instances_default.json", "Validation/images/default"),
    },
    "subsets of CVAT": {
        "train": ("annotations/instances_Train.json", "images/Train"),
        "val": ("annotations/instances_Val.json", "images/Val"),
    },
    "files named after the split": {
        "train": ("train.json", "train"),
        "val": ("val.json", "val"),
    },
    "annotations named after the split": {
        "train": ("annotations/train_annotations.json", "images/train"),
        "val": ("annotations/val_annotations.json", "images/val"),
    },
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_of_tools_are_found(tmp_path: Path, name: str) -> None:
    root = moved(tmp_path / "data", LAYOUTS[name])
    status, told = check_data(root)
    assert status == 0, told
    assert open_data(root).describe() == "2 training and 1 validation images, 2 classes"
    for split, (file, folder) in LAYOUTS[name].items():
        assert find_coco(root, split) == (root / file, root / folder)


WHOLE = {
    "Label Studio": ("result.json", "images"),
    "CVAT": ("annotations/instances_default.json", "images/default"),
    "CVAT, flat": ("annotations/instances_default.json", "images"),
    "a file of any name": ("my labels.json", "images"),
    "a file beside the images": ("export.json", "."),
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_file_that_is_not_split_is_trained_on_and_never_validated_on(tmp_path, name):
    root = moved(tmp_path / "data", {"train": WHOLE[name]})
    assert open_data(root, val_split=None).describe() == "2 training images, 2 classes"
    with pytest.raises(UserError, match=rf"{WHOLE[name][0]} is not split: .*val_split null"):
        open_data(root)
    status, told = check_data(root)
    assert status == 1
    assert "train: 0 errors" in told
    assert "is not split: train on all of it with --data.val_split null" in told.replace("\n", " ")


def test_files_of_any_place_are_given_by_options(tmp_path):
    root = moved(tmp_path / "data", {"train": ("a/b/one.json", "x/y"), "val": ("a/two.json", "z")})
    (root / "a" / "third.json").write_text("{}")
    (root / "a" / "b" / "fourth.json").write_text("{}")
    for read in (open_data, check_data):
        try:
            told = str(read(root))
        except UserError as error:
            told = str(error)
        assert "there is a/b/fourth.json, a/b/one.json, a/third.json, a/two.json: name them" in told
        assert "--annotations FILE --images FOLDER" in told
    status, told = check_data("--annotations", root / "a/b/one.json", "--images", root / "x/y")
    assert status == 0, told
    assert "train: 0 errors, 0 remarks" in told
    options = {"train": ("a/b/one.json", "x/y"), "val": ("a/two.json", "z")}
    given = {
        f"{split}_{what}": str(root / path)
        for split, pair in options.items()
        for what, path in zip(("annotations", "images"), pair, strict=True)
    }
    assert open_data(root, **given).describe().startswith("2 training and 1 validation")
    assert "without --annotations" in check_data(root, "--images", root)[1]
    assert "got no data" in check_data()[1]


# paths -------------------------------------------------------------------------------------------

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "étang.jpg") for form in ("NFC", "NFD"))

# what the annotations write, the file that lies in the folder, how it is said to be found
PATHS = [
    ("..\\train\\0001.jpg", "0001.jpg", "backslashes"),
    ("sub\\0001.jpg", "sub/0001.jpg", "backslashes"),
    ("C:\\Users\\me\\photos\\0001.jpg", "0001.jpg", "the end of the path"),
    ("/home/me/data/train/0001.jpg", "0001.jpg", "the end of the path"),
    ("train/0001.jpg", "0001.jpg", "the end of the path"),
    ("my%20photo%231.jpg", "my photo#1.jpg", "% in the name"),
    ("sub%5C0001.jpg", "sub/0001.jpg", "the end of the path|the name|letters"),
    ("/data/local-files/?d=train/0001.jpg", "0001.jpg", "the end of the path"),
    ("https://host.example/upload/7/0001.jpg?token=x", "0001.jpg", "the .* of the"),
    ("file:///C:/train/0001.jpg", "0001.jpg", "the .* of the"),
    (COMPOSED, DECOMPOSED, "accents"),
    (DECOMPOSED, COMPOSED, "accents"),
    ("IMG_0001.JPG", "img_0001.jpg", "other letters"),
    ("Sub/0001.jpg", "sub/0001.jpg", "other letters"),
]


@pytest.mark.parametrize(("written", "lies", "how"), PATHS)
def test_paths_of_other_systems_lead_to_the_one_file_that_fits(tmp_path, written, lies, how):
    root = write_set(tmp_path / "data")
    target = root / "train" / lies
    target.parent.mkdir(exist_ok=True)
    (root / "train" / "0001.jpg").rename(target)
    file = root / "annotations" / "instances_train.json"
    made = json.loads(file.read_text())
    made["images"][0]["file_name"] = written
    file.write_text(json.dumps(made))
    status, told = check_data(root)
    assert status == 0, told
    data = open_data(root)
    assert Path(data.train.location(0)).resolve() == target.resolve()
    for said in (told, data.describe()):
        found = rf"1 images were found by .*({how}).*: {re.escape(repr(written))} is"
        assert re.search(found, said), said


def test_a_file_that_fits_no_better_than_another_is_not_taken(tmp_path):
    for place in ("a/0001.jpg", "b/0001.jpg", "c/0002.jpg", "B/x.jpg"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(b"1")
    files = ImageFiles(tmp_path)
    found = files.find("C:\\photos\\0001.jpg")
    assert found.fault.startswith(f"no such file; 2 files in {tmp_path} could be meant")
    assert found.fault.endswith("(a/0001.jpg, b/0001.jpg)")
    assert files.find("C:\\photos\\b\\0001.jpg").path == str(tmp_path / "b" / "0001.jpg")
    # a folder that is named is no spelling of another one
    assert files.find("a/0002.jpg").fault == "no such file"
    assert files.find("gone.jpg").fault == files.find("..").fault == "no such file"
    assert files.find("a/0001.jpg") == (str(tmp_path / "a" / "0001.jpg"), "", "")


def test_a_file_is_not_taken_for_two_images(tmp_path):
    root = write_set(tmp_path / "data")
    file = root / "annotations" / "instances_train.json"
    made = json.loads(file.read_text())
    made["images"][1]["file_name"] = "D:\\elsewhere\\0001.jpg"
    file.write_text(json.dumps(made))
    status, told = check_data(root)
    assert status == 1
    assert "could be meant, but 2 images fit it" in told.replace("\n", " ")
    with pytest.raises(UserError, match="could be meant, but 2 images fit it"):
        open_data(root)
