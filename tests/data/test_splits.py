"""The table of split names, and what all three tasks' loaders make of it."""

import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from spanetv2.data.splits import (
    ITS_TEST_IMAGES,
    SPLITS,
    canonical_split,
    find_split,
    how_to_name,
    is_split,
    present_splits,
    split_names,
    supported_split,
    validation_note,
)
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.sources import DatasetSpec as ClassificationSpec
from spanetv2.tasks.classification.data.sources import open_dataset as open_classification
from spanetv2.tasks.detection.data.layout import find_coco
from spanetv2.tasks.segmentation.data.folder import DatasetSpec as SegmentationSpec
from spanetv2.tasks.segmentation.data.folder import open_dataset as open_segmentation

NAMES = [(split, name) for split, names in SPLITS.items() for name in names]


class Folder:
    """Classification: a folder per split, one image in each."""

    def write(self, root: Path, name: str) -> None:
        _picture(root / name / "cat" / f"{name}.png")

    def read(self, root: Path, split: str) -> str:
        """The name of the image found."""
        source = open_classification(ClassificationSpec(root=str(root), split=split))
        return Path(source.location(0)).stem  # type: ignore[union-attr]


class Tar(Folder):
    """Classification: a tar file per split."""

    def write(self, root: Path, name: str) -> None:
        made = root.parent / "made" / f"{name}.png"
        _picture(made)
        with tarfile.open(root / f"{name}.tar", "w") as archive:
            archive.add(made, arcname=f"cat/{name}.png")

    def read(self, root: Path, split: str) -> str:
        source = open_classification(ClassificationSpec(name="tar", root=str(root), split=split))
        return Path(source.location(0)).stem  # type: ignore[union-attr]


class Masks(Folder):
    """Segmentation: images/SPLIT and masks/SPLIT."""

    kinds = ("images/{}", "masks/{}")

    def write(self, root: Path, name: str) -> None:
        (root / "classes.txt").write_text("ground\n")
        for kind, mode in zip(self.kinds, ("RGB", "L"), strict=True):
            _picture(root / kind.format(name) / f"{name}.png", mode)

    def read(self, root: Path, split: str | None) -> str:
        source = open_segmentation(SegmentationSpec(name="folder", root=str(root), split=split))
        return Path(source.location(0)).stem


class MasksInside(Masks):
    """Segmentation: SPLIT/images and SPLIT/masks."""

    kinds = ("{}/images", "{}/masks")


class Coco(Folder):
    """Detection: an annotation file per split."""

    year = ""

    def write(self, root: Path, name: str) -> None:
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_{name}{self.year}.json").write_text(json.dumps({}))
        _picture(root / f"{name}{self.year}" / f"{name}.png")

    def read(self, root: Path, split: str) -> str:
        annotations, images = find_coco(root, split)
        assert annotations.stem == f"instances_{images.name}"
        return images.name.removesuffix(self.year)


class Coco2017(Coco):
    year = "2017"


def _picture(path: Path, mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (2, 2)).save(path)


LAYOUTS = [Folder(), Tar(), Masks(), MasksInside(), Coco(), Coco2017()]
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: type(layout).__name__)


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@layouts
@pytest.mark.parametrize(("split", "name"), NAMES)
def test_loaders_find_a_split_by_each_of_its_names(root, layout, split, name):
    others = [names[0] for other, names in SPLITS.items() if other != split]
    for present in (name, *others):
        layout.write(root, present)
    for asked in SPLITS[split]:
        assert layout.read(root, asked) == name


@layouts
@pytest.mark.parametrize("split", SPLITS)
def test_loaders_never_take_another_split_for_a_missing_one(root, layout, split):
    for _, name in NAMES:
        if name not in SPLITS[split]:
            layout.write(root, name)
    for asked in SPLITS[split]:
        with pytest.raises(UserError, match=rf"'{asked}' .*there is .*name the one that is meant"):
            layout.read(root, asked)


@layouts
@pytest.mark.parametrize("name", SPLITS["test"])
@pytest.mark.parametrize("asked", [*SPLITS["train"], *SPLITS["val"]])
def test_loaders_keep_a_test_split_apart(root, layout, name, asked):
    layout.write(root, name)
    option = "train_split NAME" if canonical_split(asked) == "train" else "val_split test(ing)?"
    with pytest.raises(UserError, match=rf"there is .*{name}.*--data\.{option} in training"):
        layout.read(root, asked)
    for named in SPLITS["test"]:
        assert layout.read(root, named) == name


@layouts
def test_loaders_take_the_name_asked_for_before_its_synonyms(root, layout):
    for name in ("val", "valid", "validation"):
        layout.write(root, name)
    for name in ("val", "valid", "validation"):
        assert layout.read(root, name) == name
    with pytest.raises(UserError, match=r"got val and valid and validation for split 'eval' in "):
        layout.read(root, "eval")


def test_segmentation_without_a_split_never_takes_test_for_val(root):
    layout = Masks()
    layout.write(root, "test")
    with pytest.raises(UserError, match=r"split 'val' in .*there is test: .*--split test"):
        layout.read(root, None)


@pytest.mark.parametrize("name", ["test", "testing"])
def test_ade20k_has_its_own_folders_and_perhaps_a_test_one(root, name):
    def read(split):
        source = open_segmentation(SegmentationSpec(name="ade20k", root=str(root), split=split))
        return Path(source.location(0)).stem

    for folder in ("training", name):
        _picture(root / "images" / folder / f"{folder}.png")
        _picture(root / "annotations" / folder / f"{folder}.png", "L")
    assert {read(split) for split in SPLITS["train"]} == {"training"}
    assert {read(split) for split in SPLITS["test"]} == {name}
    for split in (None, *SPLITS["val"]):
        with pytest.raises(UserError, match=rf"images/validation, .*there is training, {name}: "):
            read(split)


def test_coco_takes_2017_before_other_years(root):
    for year in ("2014", "2017"):
        (root / "annotations").mkdir(exist_ok=True)
        (root / "annotations" / f"instances_val{year}.json").write_text("{}")
        (root / f"val{year}").mkdir()
    assert find_coco(root, "validation").images.name == "val2017"
    assert find_coco(root, "val2014").images.name == "val2014"


def test_coco_refuses_images_under_two_names(root):
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val.json").write_text("{}")
    for name in ("valid", "validation2017"):
        (root / "images" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=r"got valid and validation for split 'val' in .*images"):
        find_coco(root, "val")


def test_tar_never_takes_the_splits_for_classes(root):
    for name in ("train", "test"):
        Tar().write(root, name)
    with pytest.raises(UserError, match="there is train, test"):
        Tar().read(root, "val")


@pytest.mark.parametrize("name", SPLITS["test"])
def test_digits_has_no_test_split(name):
    with pytest.raises(UserError, match=f"got split '{name}' of digits, expected train or val"):
        open_classification(ClassificationSpec(name="digits", split=name))


@pytest.mark.parametrize("name", SPLITS["val"])
def test_digits_takes_every_name_of_val(name):
    assert len(open_classification(ClassificationSpec(name="digits", split=name))) == 360  # type: ignore[arg-type]


def test_table_functions_answer():
    assert canonical_split("evaluation") == "val"
    assert canonical_split("minival") == "minival"
    assert is_split("testing")
    assert not is_split("tests")
    assert split_names("valid")[:2] == ("valid", "val")
    assert find_split("minival", {"minival", "val"}.__contains__, where="d") == "minival"
    assert find_split("minival", {"val"}.__contains__, where="d") is None
    assert present_splits({"test", "training", "cat"}.__contains__) == ["training", "test"]
    assert "--split NAME" in how_to_name("test", ["val"])
    assert supported_split("eval", ["train", "val"], name="d") == "val"
    with pytest.raises(UserError, match="got split 'x' of d, expected train, val or test"):
        supported_split("x", ["train", "val", "test"], name="d")
    assert validation_note(None) == validation_note("val") == ""
    assert validation_note("testing") == validation_note("val", ITS_TEST_IMAGES)


def test_every_name_means_one_split():
    names = [name for _, name in NAMES]
    assert len(set(names)) == len(names)
    assert [names[0] for names in SPLITS.values()] == list(SPLITS)
