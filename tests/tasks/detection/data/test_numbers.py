"""Numbers of annotation files: what is out of range is refused at reading, by check and loader."""

from pathlib import Path
from typing import Any

import pytest
from coco_data import record, write

from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.coco import CocoDetection
from spanetv2.tasks.detection.data.numbers import is_number
from spanetv2.tasks.detection.data.survey import survey_coco

NAN, INF = float("nan"), float("inf")
HUGE = 10**400


@pytest.mark.parametrize("value", [0, 1, -7, 0.5, 1e9, -0.0])
def test_finite_numbers_in_range_are_numbers(value: Any) -> None:
    assert is_number(value)


@pytest.mark.parametrize("value", [True, None, "1", [1], 1e10, -1e308, HUGE, NAN, INF, -INF])
def test_everything_else_is_none(value: Any) -> None:
    assert not is_number(value)


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("bbox", [0, 0, 1e308, 1e308], "expected four finite numbers"),
        ("bbox", [NAN, 0, 5, 5], "expected four finite numbers"),
        ("bbox", [-INF, 0, 5, 5], "expected four finite numbers"),
        ("bbox", [0, 0, HUGE, 5], "expected four finite numbers"),
        ("bbox", [True, True, True, True], "expected four finite numbers"),
        ("bbox", ["0", "0", "5", "5"], "expected four finite numbers"),
        ("bbox", [0] * 5000, "expected four finite numbers"),
        ("area", INF, "expected a finite number"),
        ("area", NAN, "expected a finite number"),
        ("area", 1e300, "expected a finite number"),
        ("area", HUGE, "expected a finite number"),
        ("area", "12", "expected a finite number"),
        ("area", True, "expected a finite number"),
        ("segmentation", [[0, 0, HUGE, 0, 5, 5]], "finite numbers"),
        ("segmentation", [[0, 0, INF, 0, -INF, 5]], "finite numbers"),
        ("segmentation", {"size": [64, 80], "counts": [5, -HUGE]}, "a negative number"),
        ("segmentation", {"size": [64, 80], "counts": [HUGE]}, "run length of"),
        ("iscrowd", 10**30, "expected 0 or 1"),
        ("category_id", NAN, "which no category has"),
        ("image_id", INF, "which no image has"),
        ("id", NAN, "no id"),
    ],
)
def test_a_number_out_of_range_is_refused_by_check_and_loader_alike(
    key: str, value: Any, reason: str, tmp_path: Path
) -> None:
    made = record()
    made["annotations"][0][key] = value
    folder = write(tmp_path, made)
    place = folder / "annotations.json", folder / "images"
    problems = survey_coco(*place, training=True).problems
    stops = [problem.reason for problem in problems if problem.effect == "stops"]
    assert any(reason in one for one in stops)
    assert all(len(one) < 400 for one in stops)
    with pytest.raises(UserError, match=reason):
        CocoDetection(*place, training=True)


@pytest.mark.parametrize("value", [2**63, 2**64, -(2**100), "9f-e2", 7.0, 10**300])
def test_ids_of_any_size_are_keys(value: Any, tmp_path: Path) -> None:
    made = record()
    for annotation in made["annotations"]:
        if annotation["image_id"] == 7:
            annotation["image_id"] = value
    made["images"][0]["id"] = value
    folder = write(tmp_path, made)
    survey = survey_coco(folder / "annotations.json", folder / "images", training=False)
    assert not survey.problems
    assert sum(survey.counts.objects.values()) == 5
