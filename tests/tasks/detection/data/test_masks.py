"""COCO's codes of masks."""

import numpy as np
import pytest
from coco_data import rectangle, rectangle_mask, runs
from faster_coco_eval.core import mask as coco

from spanetv2.tasks.detection.data.masks import (
    decode_mask,
    has_mask,
    mask_fault,
    measure_mask,
    scaled_mask,
    text_run_lengths,
)


def some_masks():
    rng = np.random.default_rng(0)
    for height, width in ((1, 1), (1, 9), (9, 1), (7, 5), (40, 33), (200, 300)):
        for part in (0.0, 0.02, 0.5, 0.98, 1.0):
            yield (rng.random((height, width)) < part).astype(np.uint8)


def test_run_lengths_as_list_and_as_text_give_the_mask():
    for mask in some_masks():
        height, width = mask.shape
        listed = runs(mask)
        assert np.array_equal(decode_mask(listed, height, width), mask)
        code = coco.encode(np.asfortranarray(mask))
        text = code["counts"]
        assert text_run_lengths(text).tolist() == listed["counts"]
        for counts in (text, text.decode()):
            again = decode_mask({"size": [height, width], "counts": counts}, height, width)
            assert again.dtype == np.uint8
            assert np.array_equal(again, mask)


def test_polygons_are_filled_by_cocos_rule():
    box = (3, 2, 9, 7)
    assert np.array_equal(decode_mask(rectangle(*box), 10, 12), rectangle_mask(10, 12, box))
    both = decode_mask([*rectangle(0, 0, 4, 4), *rectangle(2, 2, 8, 6)], 10, 12)
    union = rectangle_mask(10, 12, (0, 0, 4, 4)) | rectangle_mask(10, 12, (2, 2, 8, 6))
    assert np.array_equal(both, union)
    triangle = decode_mask([[0, 0, 10, 0, 0, 10]], 10, 12)
    assert triangle.sum() == pytest.approx(50, abs=6)
    assert triangle[0, 8] == 1
    assert triangle[8, 8] == 0


def test_polygons_far_outside_are_cut_off():
    mask = decode_mask([[-1e30, -1e30, 1e30, -1e30, 1e30, 1e30, -1e30, 1e30]], 10, 12)
    assert mask.shape == (10, 12)
    assert mask.all()
    assert not decode_mask([[1e12, 1e12, 2e12, 1e12, 2e12, 2e12]], 10, 12).any()


def test_polygons_of_two_points_draw_nothing():
    for polygons in ([], [[]], [[1, 2]], [[1, 2, 8, 8]], [[1, 2], [1, 2, 8, 8]]):
        assert mask_fault(polygons, 10, 12) is None
        assert decode_mask(polygons, 10, 12).tolist() == [[0] * 12] * 10
        assert measure_mask(polygons, 10, 12) is None
    both = [[1, 2, 8, 8], *rectangle(3, 2, 9, 7)]
    assert np.array_equal(decode_mask(both, 10, 12), rectangle_mask(10, 12, (3, 2, 9, 7)))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_polygons_are_those_of_pycocotools():
    other = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = rng.integers(5, 200, 2).tolist()
        polygons = [
            (rng.normal(0.5, 0.4, (rng.integers(3, 12), 2)) * [width, height]).ravel().tolist()
            for _ in range(rng.integers(1, 3))
        ]
        wanted = other.decode(other.merge(other.frPyObjects(polygons, height, width)))
        assert np.array_equal(decode_mask(polygons, height, width), wanted)


def test_extent_and_area_are_those_of_the_pixels():
    for mask in some_masks():
        height, width = mask.shape
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        wanted = None
        if len(rows):
            wanted = ((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1), mask.sum())
        assert measure_mask(runs(mask), height, width) == wanted
    for polygon in (rectangle(3, 2, 9, 7), [[1.2, 3.4, 9.9, 2.2, 5.1, 8.8]]):
        mask = decode_mask(polygon, 10, 12)
        assert measure_mask(polygon, 10, 12) == measure_mask(runs(mask), 10, 12)
    assert measure_mask(rectangle(100, 100, 110, 110), 10, 12) is None


@pytest.mark.parametrize("code", [None, "", [], [[]], [[], []], [None], {}, {"counts": []}])
def test_the_lack_of_a_mask_is_written_in_many_ways(code):
    assert not has_mask(code)
    assert has_mask([[1, 2, 3, 4, 5, 6]])
    assert has_mask({"size": [2, 2], "counts": [4]})


def test_masks_are_stretched_to_another_size():
    wanted = rectangle_mask(24, 10, (4, 8, 6, 16))
    mask = rectangle_mask(12, 20, (8, 4, 12, 8))
    for code in (rectangle(8, 4, 12, 8), runs(mask)):
        assert np.array_equal(decode_mask(scaled_mask(code, (20, 12), (10, 24)), 24, 10), wanted)
    full = {"size": [3, 3], "counts": [0, 9]}
    assert scaled_mask(full, (3, 3), (2, 2)) == {"size": [2, 2], "counts": [0, 4]}


@pytest.mark.parametrize(
    ("segmentation", "reason"),
    [
        (None, "no mask: expected polygons"),
        ("polygon", "no mask"),
        ([[1, 2, 3]], "polygon of 3 numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "polygon of 7 numbers"),
        ([[1, 2, 3, 4, 5, float("nan")]], "something else than finite numbers"),
        ([[1, 2, 3, 4, float("inf"), -float("inf")]], "something else than finite numbers"),
        ([[1, 2, 3, 4, 5, 10**400]], "something else than finite numbers"),
        ([[1, 2, 3, 4, 5, [6]]], "something else than finite numbers"),
        ([[1, 2, 3, 4, 5, "6"]], "something else than finite numbers"),
        ([1, 2, 3, 4, 5, 6], "polygon that is not a list"),
        ({"counts": [80]}, "without size or counts"),
        ({"size": [8, 10]}, "without size or counts"),
        ({"size": [10, 8], "counts": [80]}, r"for size \[10, 8\], expected that of the image"),
        ({"size": [8, 10], "counts": [40, 39]}, "79 pixels in all, expected 8 x 10 = 80"),
        ({"size": [8, 10], "counts": [90, -10]}, "run length of 90 in an image of 80"),
        ({"size": [8, 10], "counts": [70, -10, 20]}, "negative number"),
        ({"size": [8, 10], "counts": [40.0, 40.0]}, "something else than whole numbers"),
        ({"size": [8, 10], "counts": 80}, "neither a list nor text"),
        ({"size": [8, 10], "counts": ""}, "without a character"),
        ({"size": [8, 10], "counts": "0 1"}, "characters outside 0 to o"),
        ({"size": [8, 10], "counts": "\u00e9"}, "characters outside 0 to o"),
        ({"size": [8, 10], "counts": "1P"}, "break off"),
        ({"size": [8, 10], "counts": "o" * 20 + "0"}, "more than 60 bits"),
        ({"size": [8, 10], "counts": "5"}, "5 pixels in all"),
    ],
)
def test_broken_codes_are_named(segmentation, reason):
    import re

    found = mask_fault(segmentation, 8, 10)
    assert found is not None
    assert re.search(reason, found), found
    with pytest.raises(ValueError, match=reason):
        decode_mask(segmentation, 8, 10)


def test_damaged_text_is_never_taken_for_a_mask_of_another_size():
    rng = np.random.default_rng(1)
    whole = coco.encode(np.asfortranarray(rng.random((30, 20)) < 0.3).astype(np.uint8))
    text = bytearray(whole["counts"])
    for _ in range(300):
        damaged = bytearray(text)
        for place in rng.integers(0, len(text), 3):
            damaged[place] = rng.integers(0, 256)
        code = {"size": [30, 20], "counts": bytes(damaged)}
        if mask_fault(code, 30, 20) is None:
            assert decode_mask(code, 30, 20).shape == (30, 20)
        cut = {"size": [30, 20], "counts": bytes(text[: rng.integers(0, len(text))])}
        assert mask_fault(cut, 30, 20) is not None
