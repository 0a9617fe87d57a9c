"""Annotation files that cannot be used."""

import json
import re

import pytest
from coco_data import record, write

from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.check import check_coco
from spanetv2.tasks.detection.data.coco import CocoDetection
from spanetv2.tasks.detection.data.image_entries import ImageEntry
from spanetv2.tasks.detection.data.judge import box_fault
from spanetv2.tasks.detection.data.reading import Reading
from spanetv2.tasks.detection.data.record import read_record

# (where, key, value): a change to the sound record, and what must be said about it.
CHANGES = [
    (("images", 1, "id", 7), None, r"images\[1\]: id 7, which another image has too"),
    (("images", 0, "id", [7]), None, r"images\[0\]: no id but \[7\], expected a whole number or a"),
    (("images", 0, "id", 7.5), None, r"images\[0\]: no id but 7.5"),
    (("images", 0, "file_name", ""), None, "image 7 without file_name"),
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
    (("annotations", 1, "bbox", [1, 2, 3, 10**400]), 40, "expected four finite numbers"),
    (("annotations", 1, "bbox", None), 40, "bbox None, expected four finite numbers"),
    (("annotations", 1, "iscrowd", 2), 40, "iscrowd 2, expected 0 or 1"),
    (("annotations", 1, "area", float("inf")), 40, "area inf, expected a finite number"),
    (("annotations", 2, "segmentation", {"size": [64, 80], "counts": [5]}), 101, "5 pixels in all"),
]


def problems_of(made, folder, **options):
    write(folder, made)
    return [
        problem
        for problem in check_coco(folder / "annotations.json", folder / "images", **options)
        if problem.effect == "stops"
    ]


def test_a_sound_record_has_no_problem(tmp_path):
    assert problems_of(record(), tmp_path) == []
    classes = ["cat", "bicycle", "dog", "toothbrush"]
    keep = Reading(empty_classes="keep")
    assert problems_of(record(), tmp_path, classes=classes, reading=keep) == []


@pytest.mark.parametrize(("change", "own", "reason"), CHANGES)
def test_problems_are_named_with_file_and_annotation_and_nothing_follows(
    change, own, reason, tmp_path
):
    kind, place, key, value = change
    made = record()
    made[kind][place][key] = value
    images = made["images"]
    made["images"] = record()["images"]
    write(tmp_path, made)
    made["images"] = images
    write(tmp_path, made, images=False)
    file = tmp_path / "annotations.json"
    found = [p for p in check_coco(file, tmp_path / "images") if p.effect == "stops"]
    assert len(found) == 1
    assert re.search(reason, found[0].reason)
    assert found[0].annotation == own
    said = f"{file}: annotation {own}: " if own is not None else f"{file}: "
    assert str(found[0]).startswith(said)
    with pytest.raises(UserError, match=r"annotations.json: .*'spanetv2 check-data detection'"):
        CocoDetection(file, tmp_path / "images")


def test_a_category_outside_the_class_list_is_named_with_what_is_meant(tmp_path):
    problems = problems_of(record(), tmp_path, classes=["cat", "toothbrush"])
    assert [p.annotation for p in problems] == [40, 50]
    reason = "category 'bicycle', which is not among the 2 classes (cat, toothbrush)"
    assert problems[0].reason == f"{reason} (image crowd.png)"
    for near in ("Bicycle ", "bicycles", "BICYCLE"):
        [first, _] = problems_of(record(), tmp_path, classes=["cat", "toothbrush", near])
        assert f"; is {near!r} meant?" in first.reason


def test_every_problem_is_listed_not_only_the_first(tmp_path):
    made = record()
    for change, _, _ in CHANGES[12:17:2]:
        kind, place, key, value = change
        made[kind][place][key] = value
    made["annotations"][1]["area"] = None
    assert len(problems_of(made, tmp_path)) == 2


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
    image = ImageEntry(1, "a.png", "a.png", 80, 64)
    found = box_fault(box, image, area=1)
    if reason is None:
        assert found is None
    else:
        assert found.startswith(reason)
    assert "area 0" in box_fault([1, 1, 5, 5], image, area=0)


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
