"""Several classes of an image in a CSV file: how they are written, found, and refused."""

from pathlib import Path

import numpy as np
import pytest

from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.labels_table import LabelsTable, read_table
from spanetv2.tasks.classification.data.row_labels import RowLabels, read_labels


def read(text: str, folder: Path, **options) -> RowLabels:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return read_labels(read_table(path), "id", **options)


WANTED = [("cat", "dog"), ("cat",), (), ("dog", "cow")]
SEVERAL = {
    "columns": "id,cat,dog,cow\n1,1,1,0\n2,1,0,0\n3,0,0,0\n4,0,1,1\n",
    "columns of words": "id,cat,dog,cow\n1,True,TRUE,false\n2,yes,no,no\n3,0,0,0\n4,0.0,1.0,1\n",
    "columns of -1": "id,cat,dog,cow\n1,1,1,-1\n2,1,-1,-1\n3,-1,-1,-1\n4,-1,1,1\n",
    "columns among others": "id,age,cat,dog,cow\n1,7,1,1,0\n2,7,1,0,0\n3,8,0,0,0\n4,9,0,1,1\n",
    "bars": "id,label\n1,cat|dog\n2,cat\n3,\n4,dog | cow\n",
    "semicolons": "id,label\n1,cat;dog\n2,cat\n3,\n4,dog;cow\n",
    "commas": 'id,label\n1,"cat, dog"\n2,cat\n3,""\n4,"dog,cow"\n',
    "spaces": "id,tags\n1,cat dog\n2,cat\n3,\n4,dog cow\n",
    "fewer words than cells": "id,labels\n1,cat dog\n2,cat\n3,\n4,dog cow\n5,cow\n",
    "lists": "id,label\n1,\"['cat', 'dog']\"\n2,['cat']\n3,[]\n4,\"[dog, cow]\"\n",
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_several_classes_are_read_however_they_are_written(tmp_path, kind):
    said = read(SEVERAL[kind], tmp_path)
    assert said.several
    assert said.rows[:4] == WANTED
    assert {*said.classes} == {"cat", "dog", "cow"}
    assert ("columns left out: age" in said.remark) == (kind == "columns among others")


ONE = {
    "commas in names": 'id,label\n1,"tench, Tinca tinca"\n2,"crane, bird"\n',
    "spaces in names": "id,labels\n1,red apple\n2,green apple\n3,red pear\n4,green pear\n",
    "a column for each": "id,cat,dog\n1,1,0\n2,0,1\n",
    "0 and 1": "id,label\n1,0\n2,1\n",
}


@pytest.mark.parametrize("kind", ONE)
def test_one_class_an_image_stays_one(tmp_path, kind):
    said = read(ONE[kind], tmp_path)
    assert not said.several
    assert {len(row) for row in said.rows} == {1}


def test_what_was_said_decides(tmp_path):
    assert read("id,label\n1,cat\n2,dog\n", tmp_path, multi_label=True).several
    one = read("id,label\n1,cat|dog\n2,dog\n", tmp_path, multi_label=False)
    assert one.rows == [("cat|dog",), ("dog",)]
    named = read("id,a,cat,dog\n1,1,1,\n2,0,1,1\n", tmp_path, label="cat, dog")
    assert named.rows == [("cat",), ("cat", "dog")]
    assert named.remark.endswith("columns left out: a; 1 empty cells are taken for 0")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("id,cat,dog\n1,1,1\n", {"multi_label": False}, r"got 2 classes .*row 2.*multi_label true"),
        ("id,label\n1,cat\n2,\n", {}, r"got no class in row 3 .* --data\.multi_label true"),
        ("id,cat,dog\n1,2,1\n", {"label": "cat,dog"}, "got '2' in column cat .*, expected 1 or 0"),
        ("id,cat,dog\n1,1,1\n", {"label": "cat,cow"}, "got column 'cow' for classes, expected one"),
        ("id,w,h\n1,7,8\n", {}, "none is known to hold classes; name it"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, text, options, message):
    with pytest.raises(UserError, match=message):
        read(text, tmp_path, **options)


def test_unknown_beside_yes_and_no_is_no_column_of_a_class(tmp_path):
    """CheXpert writes -1 where nobody knows."""
    with pytest.raises(UserError, match="got '-1' in column cat"):
        read("id,cat,dog\n1,-1,1\n2,0,1\n", tmp_path, label="cat,dog")


def test_a_table_finds_usual_columns_in_any_case():
    table = LabelsTable(Path("x.csv"), ["Image ID", "y"], [["1", "2"]])
    assert table.usual(("id", "image_id")) == "Image ID"
    assert table.usual(("z",)) is None
    assert np.array_equal(table.column("y"), ["2"])
