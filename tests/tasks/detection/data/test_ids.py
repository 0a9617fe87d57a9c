"""Ids are keys, and results files give back the user's own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from other_data import Record, write_set
from test_kinds import check_data, open_data

from spanetv2.api import evaluate as evaluate_checkpoint
from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.coco import CocoDetection
from spanetv2.tasks.detection.data.ids import id_key, in_order
from spanetv2.tasks.detection.data.layout import find_coco


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (7, 7),
        (7.0, 7),
        ("7", 7),
        (-3, -3),
        (2**127, 2**127),
        (-1e300, int(-1e300)),
        ("-3", -3),
        ("007", "007"),
        ("-0", "-0"),
        ("²", "²"),
        ("3f2b-11", "3f2b-11"),
        ("9" * 5000, "9" * 5000),
        (7.5, None),
        (float("nan"), None),
        (float("inf"), None),
        (True, None),
        (None, None),
        ("", None),
        ([1], None),
    ],
)
def test_id_key(value: Any, key: Any) -> None:
    assert id_key(value) == key
    assert type(id_key(value)) is type(key)


def test_keys_are_ordered_numbers_first() -> None:
    assert sorted(["b", 10, -1, "a", 2**130], key=in_order) == [-1, 10, 2**130, "a", "b"]


def numbered(
    own: Callable[[int], Any], refer: Callable[[int], Any] | None = None
) -> Callable[[Record, str], None]:
    """Ids that are made from the small numbers of the sound record."""
    refer = refer or own

    def change(made: Record, split: str) -> None:
        for entry in (*made["images"], *made["categories"], *made["annotations"]):
            entry["id"] = own(entry["id"])
        for entry in made["annotations"]:
            for key in ("image_id", "category_id"):
                entry[key] = refer(entry[key])

    return change


IDS = {
    "text": numbered(lambda k: f"3f2b-{k}"),
    "negative": numbered(lambda k: -k),
    "64 bits": numbered(lambda k: 2**63 - 1 - k),
    "beyond 64 bits": numbered(lambda k: 2**63 + k),
    "128 bits": numbered(lambda k: 81645724526782010095170042166076916000 + k),
    "whole floats": numbered(float),
    "floats for numbers": numbered(lambda k: k, float),
    "numbers for text": numbered(str, lambda k: k),
    "zero": numbered(lambda k: k - 1),
}


@pytest.mark.parametrize("name", IDS)
def test_ids_of_any_kind_are_read_and_given_back(tmp_path: Path, weights: Path, name: str) -> None:
    root = write_set(tmp_path / "data", IDS[name])
    status, told = check_data(root)
    assert status == 0, told
    assert "train: 0 errors, 0 remarks" in told
    data = open_data(root)
    assert data.classes == (
        ["stone", "leaf"] if name in ("negative", "64 bits") else ["leaf", "stone"]
    )
    plain = CocoDetection(*find_coco(write_set(tmp_path / "plain"), "train"), training=True)
    for i in range(2):
        mine, wanted = data.train.target(i), plain.target(i)
        assert mine["boxes"].tolist() == wanted["boxes"].tolist()
        names = [data.classes[k - 1] for k in mine["labels"].tolist()]
        assert names == [plain.classes[k - 1] for k in wanted["labels"].tolist()]
        assert data.train.own_image_id(int(mine["image_id"])) == data.train.image_ids[i]
    file = tmp_path / "figures.json"
    evaluate_checkpoint(weights, root, json=file, device="cpu")
    rows = json.loads((tmp_path / "figures.results.json").read_text())
    record = json.loads((root / "annotations" / "instances_val.json").read_text())
    own = [record["images"][0]["id"]]
    assert {repr(row["image_id"]) for row in rows} == set(map(repr, own))
    categories = {repr(category["id"]) for category in record["categories"]}
    assert {repr(row["category_id"]) for row in rows} <= categories
    assert rows


def test_each_split_may_number_on_its_own(tmp_path: Path, weights: Path) -> None:
    def change(made: Record, split: str) -> None:
        if split == "val":
            numbered(lambda k: {1: 9, 2: 4}.get(k, k + 20))(made, split)

    root = write_set(tmp_path / "data", change)
    data = open_data(root)
    assert data.val is not None
    assert data.val.classes == data.classes == ["leaf", "stone"]
    assert data.val.category_ids == [9, 4]
    assert data.val.target(0)["labels"].tolist() == [1, 2]
    evaluate_checkpoint(weights, root, json=tmp_path / "figures.json", device="cpu")
    rows = json.loads((tmp_path / "figures.results.json").read_text())
    assert {row["category_id"] for row in rows} <= {9, 4}


def test_ids_that_are_one_key_are_doubled(tmp_path: Path) -> None:
    def change(made: Record, split: str) -> None:
        made["images"][-1]["id"] = "1" if split == "train" else made["images"][-1]["id"]

    root = write_set(tmp_path / "data", change)
    with pytest.raises(UserError, match=r"images\[1\]: id 1, which another image has too"):
        open_data(root)
