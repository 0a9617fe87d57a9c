"""Class-balanced sampling: numbers, order, processes, and what is drawn again."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image

from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.sampler import BalancedSampler, class_members
from spanetv2.tasks.classification.data.source import ImageSource

LABELS = np.array([0] * 50 + [1] * 9 + [2] * 1)


class Labels(ImageSource):
    """Labels, of images that nobody looks at."""

    def read(self, index: int) -> Image.Image:
        raise AssertionError

    def location(self, index: int) -> str:
        raise AssertionError


def members(labels: np.ndarray) -> list[np.ndarray]:
    return class_members(Labels(classes=["a", "b", "c"], labels=labels, transform=None))


def sampler(**options) -> BalancedSampler:
    settings = {"length": 60, "batch_size": 6, "seed": 3, **options}
    return BalancedSampler(members(LABELS), **settings)


def drawn(of: BalancedSampler, epoch: int = 0) -> list[tuple[int, int]]:
    of.set_epoch(epoch)
    return [key for batch in of for key in batch]


def test_classes_are_drawn_equally_often():
    for epoch in range(3):
        counts = Counter(LABELS[[index for _, index in drawn(sampler(), epoch)]].tolist())
        assert counts == {0: 20, 1: 20, 2: 20}
    many = {index for epoch in range(20) for _, index in drawn(sampler(), epoch)}
    assert len(many) == 60  # a frequent class is seen whole in time
    rare = Counter(index for _, index in drawn(sampler()) if 50 <= index < 59)
    assert {*rare.values()} == {2, 3}  # and a rare one evenly


def test_an_image_drawn_again_has_another_key():
    keys = drawn(sampler())
    assert len({*keys}) == len(keys)
    firsts = [epoch for epoch, index in keys if index == 59]
    assert firsts[0] == 0
    assert sorted(firsts) == firsts


def test_the_order_is_a_function_of_seed_and_epoch():
    assert drawn(sampler(), 1) == drawn(sampler(), 1) != drawn(sampler(), 2)
    assert drawn(sampler(seed=4), 1) != drawn(sampler(), 1)


def test_it_goes_on_in_the_middle_and_is_shared_by_processes():
    whole = list(sampler())
    later = sampler()
    later.start(0, 4)
    assert [*later] == whole[4:]
    assert len(later) == 10
    halves = [[*sampler(rank=rank, world=2)] for rank in range(2)]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole
    wide = [*sampler(batch_size=12)]
    assert wide == [a + b for a, b in zip(whole[::2], whole[1::2], strict=True)]


def test_images_of_several_labels_are_drawn_for_any_of_them():
    labels = np.zeros((8, 3), dtype=np.uint8)
    labels[0] = 1  # all three
    labels[1:5, 0] = 1  # 5 to 7 have none
    groups = members(labels)
    assert [group.tolist() for group in groups] == [[0, 1, 2, 3, 4], [0], [0], [5, 6, 7]]
    keys = drawn(BalancedSampler(groups, length=8, batch_size=2, seed=0))
    assert sum(index == 0 for _, index in keys) >= 4


def test_labels_that_are_not_known_are_refused():
    source = Labels(classes=["a", "b"], labels=None, transform=None)
    with pytest.raises(UserError, match="labels are known on reading only"):
        class_members(source)
