"""One scene: what is on it, and what is said about it."""

import math

import numpy as np
import pytest
from PIL import Image

from spanetv2.errors import UserError
from spanetv2.scenes import SceneSettings, make_scene, material, scene_of
from spanetv2.scenes.compose import draw_digit, keep_visible


def scenes(count: int = 24, **settings):
    made = SceneSettings(**settings)
    return [scene_of(made, "train", number, seed=3) for number in range(1, count + 1)]


def test_masks_and_labels_say_the_same():
    for scene in scenes():
        assert scene.image.shape == (256, 256, 3)
        assert scene.image.dtype == scene.labels.dtype == np.uint8
        again_HW = np.zeros_like(scene.labels)
        for instance in scene.instances:
            assert instance.mask.any()
            assert not again_HW[instance.mask].any(), "masks overlap"
            again_HW[instance.mask] = instance.digit + 1
        assert np.array_equal(again_HW, scene.labels)


def test_scenes_hold_what_the_settings_say():
    counts = [len(scene.instances) for scene in scenes(60)]
    assert min(counts) >= 1
    assert max(counts) <= 8
    assert len(set(counts)) >= 5
    (one,) = {len(s.instances) for s in scenes(8, digits=(1, 1))}
    assert one == 1
    crowded = scenes(8, digits=(20, 20))
    assert all(5 < len(s.instances) <= 20 for s in crowded)
    assert min(len(s.instances) for s in crowded) < 20, "nothing was hidden"


def test_sizes_follow_the_settings():
    upright = {"digits": (1, 1), "rotation": 0.0, "blur": 0.0, "noise": 0.0}
    for height in (24, 60, 96):
        part = height / 256
        found = [s.instances[0].mask for s in scenes(16, height=(part, part), **upright)]
        tall = [int(np.ptp(np.flatnonzero(m.any(1)))) + 1 for m in found]
        assert 0.8 * height < np.median(tall) <= 1.1 * height
        # The same scene at twice the size.
        large = scenes(16, size=512, height=(part, part), **upright)
        twice = [int(np.ptp(np.flatnonzero(s.instances[0].mask.any(1)))) + 1 for s in large]
        assert np.median(np.divide(twice, tall)) == pytest.approx(2, abs=0.1)


def test_digits_are_whole_within_the_scene():
    settings = SceneSettings(digits=(1, 1), rotation=0.0)
    for number in range(30):
        rng = np.random.default_rng(number)
        mask_HW = make_scene(settings, material("val"), rng).instances[0].mask
        # A digit cut by the border would touch it in a long line.
        edges = (mask_HW[0], mask_HW[-1], mask_HW[:, 0], mask_HW[:, -1])
        assert max(int(edge.sum()) for edge in edges) < 0.7 * math.sqrt(mask_HW.sum())


def likeness(ink_hw: np.ndarray, alpha_hw: np.ndarray) -> float:
    """Correlation of a digit with an enlarged one, brought back to its pixels."""
    inside = ink_hw > 115
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    cut = ink_hw[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    small = Image.fromarray(alpha_hw).resize(cut.shape[::-1], Image.Resampling.BOX)
    assert np.abs(np.subtract(alpha_hw.shape, np.multiply(cut.shape, 8))).max() <= 10
    return np.corrcoef(np.asarray(small).ravel(), cut.ravel())[0, 1]


def test_draw_digit_is_the_digit_only_larger():
    own, turned = [], []
    for ink_hw in material("train").digits[:200]:
        alpha_hw = draw_digit(ink_hw, height=64, angle=0.0)
        assert alpha_hw.dtype == np.float32
        assert 0 <= alpha_hw.min() <= alpha_hw.max() == 1
        own.append(likeness(ink_hw, alpha_hw))
        turned.append(likeness(ink_hw, np.ascontiguousarray(alpha_hw[::-1, ::-1])))
    assert np.quantile(own, 0.05) > 0.7
    assert np.median(turned) < 0.5


def test_draw_digit_turns_anticlockwise():
    bar_hw = np.zeros((8, 8), dtype=np.uint8)
    bar_hw[1:7, 3:5] = 255  # upright; its upper half is marked by a foot below
    bar_hw[5:7, 3:7] = 255  # to the right
    upright = draw_digit(bar_hw, height=48, angle=0.0)
    quarter = draw_digit(bar_hw, height=48, angle=math.pi / 2)
    assert upright.shape == quarter.shape[::-1]
    assert np.abs(np.rot90(upright) - quarter).mean() < 0.01
    assert np.abs(np.rot90(upright, -1) - quarter).mean() > 0.1


def test_edges_are_soft_and_narrow_at_every_size():
    for height in (24, 48, 96, 192):
        alpha_hw = draw_digit(material("train").digits[0], height=height, angle=0.3)
        between = ((alpha_hw > 0.05) & (alpha_hw < 0.95)).sum()
        inside = alpha_hw >= 0.5
        outline = sum(np.count_nonzero(np.diff(inside, axis=axis)) for axis in (0, 1))
        assert 0.3 < between / outline < 3


def test_keep_visible_leaves_out_what_is_hidden():
    low, middle, top = (np.zeros((1, 8), dtype=bool) for _ in range(3))
    low[0, :4], middle[0, 1:5], top[0, 2:8] = True, True, True
    # middle shows 1 of 4 pixels. Left out, it hides nothing of low, which then shows 2 of 4.
    seen = keep_visible([low, middle, top], 0.5)
    assert seen[1] is None
    assert np.flatnonzero(seen[0]).tolist() == [0, 1]
    assert np.flatnonzero(seen[2]).tolist() == [2, 3, 4, 5, 6, 7]
    seen = keep_visible([low, middle, top], 0.25)
    assert [np.flatnonzero(mask).tolist() for mask in seen[:2]] == [[0], [1]]
    assert keep_visible([], 0.5) == []


def test_ink_differs_from_what_lies_around_it():
    contrasts = []
    for scene in scenes(40):
        for _, mask_HW in scene.instances:
            near_HW = mask_HW.copy()
            for axis in (0, 1):
                for step in (-3, 3):
                    near_HW |= np.roll(mask_HW, step, axis)
            ring_HW = near_HW & (scene.labels == 0)
            if ring_HW.sum() > 20:
                image = scene.image.astype(float)
                contrasts.append(np.linalg.norm(image[mask_HW].mean(0) - image[ring_HW].mean(0)))
    assert len(contrasts) > 100
    assert np.quantile(contrasts, 0.02) > 60


def test_a_scene_is_a_function_of_seed_split_and_number():
    settings = SceneSettings()
    first = scene_of(settings, "train", 1, seed=0)
    again = scene_of(settings, "train", 1, seed=0)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    others = [("train", 2, 0), ("val", 1, 0), ("train", 1, 1)]
    for split, number, seed in others:
        other = scene_of(settings, split, number, seed=seed)
        assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 64}, "got scenes of 64 pixels, expected at least 96"),
        ({"digits": (0, 3)}, "expected 1 <= least <= most"),
        ({"digits": (4, 3)}, "expected 1 <= least <= most"),
        ({"height": (0.1, 0.9)}, "expected 0 < least <= greatest <= 0.6"),
        ({"visible": 0.0}, "expected a part in"),
        ({"noise": -1.0}, "got a negative rotation, blur or noise"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        SceneSettings(**settings)
