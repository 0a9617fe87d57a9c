"""Annotation files that cannot be used."""

import json

import pytest
from coco_data import record, write

from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.coco import CocoDetection
from spanetv2.tasks.detection.data.record import box_fault, read_record, record_problems

# (where, key, value): a change to the sound record, and what must be said about it.
CHANGES = [
    (("images", 1, "id", 7), None, r"images\[1\]: id 7, which another image has too"),
    (("images", 0, "id", "7"), None, r"images\[0\]: no id"),
    (("images", 0, "file_name", ""), None, "image 7 without file_name"),
    (("images", 0, "width", None), None, r"image 7 \(two.png\) with width None"),
    (("images", 0, "height", 0), None, "with height 0, expected pixels"),
    (("categories", 1, "id", 90), None, r"categories\[1\]: id 90, which another category has too"),
    (("categories", 1, "name", "cat"), None, "name 'cat', which another category has too"),
    (("categories", 1, "name", None), None, "category 2 without name"),
    (("annotations", 1, "id", 100), 100, "an id that another annotation has too"),
    (("annotations", 1, "id", None), None, r"annotations\[1\]: no id"),
    (("annotations", 1, "image_id", 99), 40, "image_id 99, which no image has"),
    (("annotations", 1, "image_id", [3]), 40, r"image_id \[3\], which no image has"),
    (("annotations", 1, "category_id", 1), 40, r"category_id 1, which .* \(image crowd.png\)"),
    (("annotations", 1, "bbox", [1, 2, 3]), 40, r"bbox \[1, 2, 3\], expected four finite"),
    (("annotations", 1, "bbox", [1, 2, 3, float("nan")]), 40, "expected four finite numbers"),
    (("annotations", 1, "bbox", None), 40, "bbox None, expected four finite numbers"),
    (("annotations", 1, "iscrowd", 2), 40, "iscrowd 2, expected 0 or 1"),
    (("annotations", 1, "area", float("inf")), 40, "area inf, expected a finite number"),
    (("annotations", 1, "segmentation", None), 40, "no mask: expected polygons"),
    (("annotations", 2, "segmentation", {"size": [64, 80], "counts": [5]}), 101, "5 pixels in all"),
]


def test_a_sound_record_has_no_problem():
    assert list(record_problems(record(), path="a.json")) == []
    classes = ["cat", "bicycle", "dog", "toothbrush"]
    assert list(record_problems(record(), path="a.json", classes=classes)) == []


@pytest.mark.parametrize(("change", "own", "reason"), CHANGES)
def test_problems_are_named_with_file_and_annotation(change, own, reason, tmp_path):
    import re

    kind, place, key, value = change
    made = record()
    made[kind][place][key] = value
    problems = list(record_problems(made, path="a.json"))
    found = [p for p in problems if re.search(reason, p.reason)]
    assert len(found) == 1
    assert found[0].annotation == own
    assert found[0].effect == "stops"
    said = f"a.json: annotation {own}: " if own is not None else "a.json: "
    assert str(found[0]).startswith(said)
    write(tmp_path, made, images=False)
    with pytest.raises(UserError, match=r"annotations.json: .*'spanetv2 check-data detection'"):
        CocoDetection(tmp_path / "annotations.json", tmp_path / "images")


def test_a_category_outside_the_class_list_is_named():
    problems = list(record_problems(record(), path="a.json", classes=["cat", "toothbrush"]))
    assert [p.annotation for p in problems] == [40, 50]
    reason = "category 'bicycle', which is not among the 2 classes (cat, toothbrush)"
    assert problems[0].reason == f"{reason} (image crowd.png)"


def test_every_problem_is_listed_not_only_the_first():
    made = record()
    for change, _, _ in CHANGES[12:17:2]:
        kind, place, key, value = change
        made[kind][place][key] = value
    assert len(list(record_problems(made, path="a.json"))) == 3


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ([5, 5, 0, 10], "box of 0 x 10 pixels"),
        ([5, 5, 10, -3], "box of 10 x -3 pixels"),
        ([5, 5, 0.5, 10], "box of 0.5 x 10 pixels"),
        ([100, 5, 10, 10], "box outside the image"),
        ([-20, 5, 20.5, 10], "box outside the image"),
        ([5, 63.5, 10, 10], "box outside the image"),
        ([-5, -5, 200, 200], None),
        ([79, 63, 1, 1], None),
    ],
)
def test_box_fault(box, reason):
    found = box_fault({"bbox": box, "area": 1}, {"width": 80, "height": 64})
    if reason is None:
        assert found is None
    else:
        assert found.startswith(reason)
    assert "area 0" in box_fault({"bbox": [1, 1, 5, 5], "area": 0}, {"width": 80, "height": 64})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, r"cannot read .*a.json \(no such file"),
        ("{", "a.json: not JSON"),
        ("[]", "a.json: no list 'images'"),
        (json.dumps({"images": [], "annotations": {}}), "a.json: no list 'annotations'"),
        (json.dumps({"images": [], "annotations": []}), "a.json: no list 'categories'"),
        ("[" * 100_000, "a.json: not JSON"),
    ],
)
def test_files_of_another_form_are_refused(text, reason, tmp_path):
    if text is not None:
        (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=reason):
        read_record(tmp_path / "a.json")
