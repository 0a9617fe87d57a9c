"""Classes in a CSV file: columns, images, splits, and what is refused."""

from pathlib import Path

import pytest
from PIL import Image

from spanetv2.errors import UserError
from spanetv2.tasks.classification.config import DataConfig, RunConfig
from spanetv2.tasks.classification.data.labels_file import LabelsFileSource
from spanetv2.tasks.classification.run_data import ClassificationData
from spanetv2.training.batching import plan_batches

WANTED = {"a/1.png": "tabby cat", "a/2.png": "dog", "b/3.png": "dog", "b/4.png": "tabby cat"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for path in WANTED:
        (tmp_path / "d" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "d" / path)
    return tmp_path / "d"


def rows(source) -> dict[str, str]:
    return {source.key(i): source.classes[source.labels[i]] for i in range(len(source))}


def write(root: Path, text: str) -> Path:
    path = root.parent / "labels.csv"
    path.write_text(text, encoding="utf-8-sig")
    return path


READ = {
    "id,breed": "id,breed\n1,tabby cat\n2,dog\n3,dog\n4,tabby cat\n",
    "paths": "label;filename\ntabby cat;a/1.png\ndog;./a/2.png\ndog;b\\3.png\ntabby cat;b/4.png\n",
    "names": (
        "Image Name,width,Class\n1.png,4,tabby cat\n2.png,4,dog\n3.png,4,dog\n4.png,4,tabby cat"
    ),
    "roots of another machine": (
        "path,label\n/x/d/a/1.png,tabby cat\n/x/a/2.png,dog\nC:\\b\\3.png,dog\nb/4,tabby cat\n"
    ),
    "one hot": "image,dog,tabby cat\n1,0.0,1.0\n2,1.0,0.0\n3,1,0\n4,0,1\n",
}


@pytest.mark.parametrize("kind", READ)
def test_images_and_classes_are_found(root, kind):
    source = LabelsFileSource(root, write(root, READ[kind]))
    assert rows(source) == WANTED
    assert source.classes == ["dog", "tabby cat"]
    assert source.read(0).size == (4, 4)
    assert list(source.remarks) == []
    assert not source.multi_label


def test_columns_can_be_named_and_images_in_no_row_are_counted(root):
    path = write(root, "x,y,z\n1,dog,5\n2,tabby cat,5\n")
    with pytest.raises(UserError, match=r"none is known to hold images; name it \(--data\.image_c"):
        LabelsFileSource(root, path)
    with pytest.raises(UserError, match="got column 'w' for images, expected one of x, y, z"):
        LabelsFileSource(root, path, image_column="w")
    source = LabelsFileSource(root, path, image_column="x", label_column="y")
    assert rows(source) == {"a/1.png": "dog", "a/2.png": "tabby cat"}
    assert list(source.remarks) == [f"2 images below {root} are in no row of {path}"]


def test_rows_of_an_unknown_split_are_counted_and_named(root):
    path = write(root, "image,label,split\n1,dog,train\n2,tabby cat,holdout\n3,dog,\n4,dog,valid\n")
    source = LabelsFileSource(root, path)
    assert rows(source) == {"a/1.png": "dog"}
    assert list(source.remarks) == [
        f"2 rows of {path} have split 'holdout', '', expected train, val or test: no part has "
        "them unless it is named so; mend them if one should"
    ]
    held = LabelsFileSource(root, path, split="holdout")
    assert rows(held) == {"a/2.png": "tabby cat"}
    assert [line[:6] for line in held.remarks] == ["1 rows"]


def opened(root: Path, labels: Path, **options) -> ClassificationData:
    data = DataConfig(root=str(root), labels=str(labels), total_batch=2, **options)
    return ClassificationData(RunConfig(data=data), plan=plan_batches(2, devices=1))


def test_splits_are_a_column_a_share_or_another_file(root):
    path = write(root, READ["id,breed"])
    with pytest.raises(UserError, match="got 4 of 4 validation images that are training images"):
        opened(root, path)
    shared = opened(root, path, val_share=0.5)
    assert (len(shared.train), len(shared.val)) == (2, 2)  # type: ignore[arg-type]
    other = root.parent / "other.csv"
    other.write_text("id,breed\n4,dog\n")
    path = write(root, "id,breed\n1,tabby cat\n2,dog\n")
    data = opened(root, path, val_labels=str(other))
    assert rows(data.val) == {"b/4.png": "dog"}
    path = write(root, "id,breed,split\n1,tabby cat,Train\n2,dog,train\n3,dog,VALID\n")
    data = opened(root, path)
    assert (rows(data.train), rows(data.val)) == (
        {"a/1.png": "tabby cat", "a/2.png": "dog"},
        {"b/3.png": "dog"},
    )
    with pytest.raises(UserError, match=r"got no rows of split 'test' in column split of"):
        opened(root, path, val_split="test")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,breed\n9,dog\n", r"got '9' in .* \(no such image below .*--data\.image_column,"),
        ("id,breed\n1,dog\n1,cat\n", r"got image a/1\.png twice .* --data\.multi_label true"),
        ("id,breed\n9,dog\n8,cat\n", r"got '9' in .* and 1 rows like it, expected"),
        ("id,breed\n1\n", "got 1 cells in row 2 of .*, expected 2: id, breed"),
        ("id,breed\n1,\n", "got no class in row 2"),
        ("id,breed\n", "without rows, expected a header and a row for each image"),
        ("id,w,h\n1,3,4\n", "none is known to hold classes"),
    ],
)
def test_what_cannot_be_used_is_named(root, text, message):
    with pytest.raises(UserError, match=message) as error:
        LabelsFileSource(root, write(root, text))
    assert "\n" not in str(error.value)


def test_images_of_one_name_need_their_folder(root):
    Image.new("RGB", (4, 4)).save(root / "b" / "1.png")
    path = write(root, "id,breed\n1,dog\n")
    with pytest.raises(UserError, match="2 images of that name below"):
        LabelsFileSource(root, path)
    assert rows(LabelsFileSource(root, write(root, "id,breed\nb/1,dog\n"))) == {"b/1.png": "dog"}
