import itertools

import pytest

from spanetv2.data.sampler import EpochSampler, IterationSampler
from spanetv2.errors import UserError

CASES = list(itertools.product([16, 23, 64], [4, 8], [True, False]))


def epoch_of(sampler: EpochSampler, epoch: int) -> list[list[tuple[int, int]]]:
    sampler.start(epoch)
    return list(sampler)


@pytest.mark.parametrize(("length", "batch", "shuffle"), CASES)
def test_sampler_visits_every_index_once(length, batch, shuffle):
    sampler = EpochSampler(length, batch_size=batch, seed=3, shuffle=shuffle, drop_last=False)
    batches = epoch_of(sampler, 5)
    assert sorted(itertools.chain(*batches)) == [(5, i) for i in range(length)]
    assert len(batches) == len(sampler)
    assert {len(b) for b in batches[:-1]} == {batch}


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize(("length", "batch", "shuffle"), CASES)
def test_sampler_ranks_share_out_the_single_process_batches(length, batch, shuffle, world):
    whole = EpochSampler(length, batch_size=batch, seed=7, shuffle=shuffle)
    parts = [
        EpochSampler(length, batch_size=batch, seed=7, shuffle=shuffle, rank=r, world=world)
        for r in range(world)
    ]
    shares = [epoch_of(part, 2) for part in parts]
    assert all(len(b) == batch // world for share in shares for b in share)
    joined = [list(itertools.chain(*pieces)) for pieces in zip(*shares, strict=True)]
    assert joined == epoch_of(whole, 2)


def test_sampler_consecutive_batches_hold_one_larger_batch():
    small = epoch_of(EpochSampler(32, batch_size=4, seed=1), 0)
    large = epoch_of(EpochSampler(32, batch_size=8, seed=1), 0)
    assert [a + b for a, b in zip(small[::2], small[1::2], strict=True)] == large


@pytest.mark.parametrize("start", range(5))
def test_sampler_start_equals_skipping(start):
    sampler = EpochSampler(18, batch_size=4, seed=0)
    expected = epoch_of(sampler, 3)[start:]
    sampler.start(3, start)
    sampler.set_epoch(3)  # as a trainer does before the epoch
    assert list(sampler) == expected
    assert len(sampler) == 4
    assert list(sampler) == epoch_of(sampler, 3)  # the next pass is whole again


def test_sampler_orders_differ_by_epoch_and_by_seed():
    orders = [
        tuple(itertools.chain(*epoch_of(EpochSampler(50, batch_size=10, seed=seed), epoch)))
        for seed in (0, 1)
        for epoch in (0, 1, 2)
    ]
    assert len({tuple(index for _, index in order) for order in orders}) == 6


def test_sampler_set_epoch_moves_to_the_start_of_another_epoch():
    sampler = EpochSampler(12, batch_size=4, seed=0)
    sampler.start(0, 2)
    sampler.set_epoch(1)
    assert list(sampler) == epoch_of(sampler, 1)


@pytest.mark.parametrize("length", [1, 2, 3, 17, 18, 19])
def test_sampler_evaluation_shares_cover_everything_once(length):
    parts = [
        EpochSampler(length, batch_size=6, seed=0, shuffle=False, drop_last=False, rank=r, world=3)
        for r in range(3)
    ]
    batches = [list(part) for part in parts]
    assert [len(b) for b in batches] == [len(part) for part in parts]
    assert all(b for share in batches for b in share)
    seen = sorted(index for share in batches for b in share for _, index in b)
    assert seen == list(range(length))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0, "batch_size": 4}, "without samples"),
        ({"length": 3, "batch_size": 4}, "got 3 samples, expected at least one batch of 4"),
        ({"length": 8, "batch_size": 3, "world": 2}, "batch of 3 over 2 processes"),
        ({"length": 8, "batch_size": 4, "world": 2, "rank": 2}, "rank 2 of 2"),
        ({"length": 8, "batch_size": 4, "world": 2, "drop_last": False}, "drop_last=False"),
    ],
)
def test_sampler_refuses_impossible_settings(arguments, message):
    with pytest.raises(UserError, match=message):
        EpochSampler(seed=0, **arguments)


@pytest.mark.parametrize(("epoch", "batch"), [(-1, 0), (0, -1), (0, 4)])
def test_sampler_start_refuses_places_outside(epoch, batch):
    with pytest.raises(UserError, match="got a start at"):
        EpochSampler(12, batch_size=4, seed=0).start(epoch, batch)


def stream(sampler: IterationSampler, epochs: int) -> list[list[tuple[int, int]]]:
    return [batch for epoch in range(epochs) for batch in epoch_of(sampler, epoch)]


@pytest.mark.parametrize(("length", "batch"), [(7, 3), (8, 4), (3, 8)])
def test_iteration_sampler_goes_through_everything_again_and_again(length, batch):
    sampler = IterationSampler(length, batch_size=batch, batches=length, seed=4)
    keys = list(itertools.chain(*stream(sampler, 2)))
    assert len(keys) == 2 * length * batch
    for turn in range(2 * batch):
        part = keys[turn * length : (turn + 1) * length]
        assert sorted(part) == [(turn, index) for index in range(length)]
    assert [i for _, i in keys[:length]] != [i for _, i in keys[length : 2 * length]]


def test_iteration_sampler_does_not_depend_on_the_length_of_an_epoch():
    short = IterationSampler(10, batch_size=4, batches=3, seed=4)
    long = IterationSampler(10, batch_size=4, batches=12, seed=4)
    assert stream(short, 4) == stream(long, 1)


@pytest.mark.parametrize("world", [2, 4])
def test_iteration_sampler_ranks_share_out_the_single_process_batches(world):
    options = {"batch_size": 8, "batches": 5, "seed": 1}
    whole = stream(IterationSampler(11, **options), 2)
    shares = [stream(IterationSampler(11, rank=r, world=world, **options), 2) for r in range(world)]
    assert [list(itertools.chain(*pieces)) for pieces in zip(*shares, strict=True)] == whole


def test_iteration_sampler_start_equals_skipping():
    sampler = IterationSampler(10, batch_size=4, batches=6, seed=0)
    expected = epoch_of(sampler, 2)[4:]
    sampler.start(2, 4)
    sampler.set_epoch(2)
    assert list(sampler) == expected
    assert list(sampler) == epoch_of(sampler, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batches": 0}, "epochs of 0 batches"),
        ({"length": 0}, "without samples"),
        ({"batch_size": 3, "world": 2}, "batch of 3 over 2 processes"),
    ],
)
def test_iteration_sampler_refuses_impossible_settings(arguments, message):
    with pytest.raises(UserError, match=message):
        IterationSampler(**{"length": 5, "batch_size": 2, "batches": 2, "seed": 0, **arguments})
