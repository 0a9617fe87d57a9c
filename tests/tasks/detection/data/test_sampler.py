"""Batches of images of one kind of shape."""

import itertools

import numpy as np
import pytest

from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.sampler import AspectRatioSampler


def some_sizes(wide: int, tall: int) -> np.ndarray:
    sizes = np.array([(60, 80)] * wide + [(80, 60)] * (tall - 1) + [(70, 70)])
    return np.random.default_rng(0).permutation(sizes)


def kinds(batch, sizes):
    return {bool(sizes[index][1] > sizes[index][0]) for _, index in batch}


@pytest.mark.parametrize(("wide", "tall"), [(37, 22), (40, 8), (3, 50), (16, 16)])
def test_at_most_one_batch_is_mixed_and_no_image_comes_twice(wide, tall):
    sizes = some_sizes(wide, tall)
    sampler = AspectRatioSampler(sizes, batch_size=4, seed=1)
    batches = list(sampler)
    assert len(batches) == len(sampler) == (wide + tall) // 4
    assert all(len(batch) == 4 for batch in batches)
    assert sum(len(kinds(batch, sizes)) > 1 for batch in batches) <= 1
    seen = [index for batch in batches for _, index in batch]
    assert len(set(seen)) == len(seen)
    whole = [
        index
        for batch in AspectRatioSampler(sizes, batch_size=4, seed=1, drop_last=False)
        for _, index in batch
    ]
    assert sorted(whole) == list(range(wide + tall))


def test_kinds_and_images_come_in_random_order():
    sizes = some_sizes(40, 40)
    sampler = AspectRatioSampler(sizes, batch_size=4, seed=1)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        assert {key for batch in batches for key, _ in batch} == {epoch}
        orders.append([index for batch in batches for _, index in batch])
        pattern = [kinds(batch, sizes) for batch in batches]
        assert sum(a != b for a, b in itertools.pairwise(pattern)) > 3
    assert orders[0] != orders[1] != orders[2]
    again = AspectRatioSampler(sizes, batch_size=4, seed=1)
    assert [index for batch in again for _, index in batch] == orders[0]


def test_processes_share_the_batches_of_one():
    sizes = some_sizes(37, 22)
    one = list(AspectRatioSampler(sizes, batch_size=4, seed=1))
    two = [
        list(AspectRatioSampler(sizes, batch_size=4, seed=1, rank=rank, world=2)) for rank in (0, 1)
    ]
    assert [a + b for a, b in zip(*two, strict=True)] == one


def test_an_epoch_goes_on_where_it_stopped():
    sizes = some_sizes(37, 22)
    sampler = AspectRatioSampler(sizes, batch_size=4, seed=1)
    sampler.set_epoch(5)
    whole = list(sampler)
    other = AspectRatioSampler(sizes, batch_size=4, seed=1)
    other.start(5, 6)
    other.set_epoch(5)
    assert list(other) == whole[6:]


def test_too_few_images_are_refused():
    with pytest.raises(UserError, match="got 3 samples, expected at least one batch of 4"):
        AspectRatioSampler(np.full((3, 2), 64), batch_size=4, seed=0)
