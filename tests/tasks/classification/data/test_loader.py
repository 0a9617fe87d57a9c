import random

import numpy as np
import pytest
import torch
from PIL import Image

from spanetv2.data.images import ImageError
from spanetv2.data.loader import PartialBatch
from spanetv2.data.preprocessing import Preprocessing, eval_transform
from spanetv2.data.sampler import EpochSampler
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.loader import eval_loader, train_loader
from spanetv2.tasks.classification.data.sources import DatasetSpec, ImageSource, open_dataset
from spanetv2.tasks.classification.data.transforms import Augmentation, train_transform

SETTINGS = Preprocessing(input_size=(3, 16, 16))
HEAVY = Augmentation(auto_augment="rand-m9-mstd0.5-inc1", re_prob=0.5)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(9):
            pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{i}.png")
    return tmp_path


def source(folder, transform) -> ImageSource:
    opened = open_dataset(DatasetSpec(root=str(folder)), transform)
    assert isinstance(opened, ImageSource)
    return opened


def train_batches(folder, *, epoch=0, first=0, **options):
    loader = train_loader(
        source(folder, train_transform(SETTINGS, HEAVY)), **{"seed": 5, "batch_size": 4, **options}
    )
    assert isinstance(loader.batch_sampler, EpochSampler)
    loader.batch_sampler.start(epoch, first)
    return list(loader)


def same(left, right):
    return len(left) == len(right) and all(
        torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(left, right, strict=True)
    )


def test_train_loader_is_the_same_for_any_number_of_workers(folder):
    alone = train_batches(folder)
    assert [tuple(images.shape) for images, _ in alone] == [(4, 3, 16, 16)] * 4
    assert same(alone, train_batches(folder, workers=2))
    assert same(alone, train_batches(folder, workers=1))


@pytest.mark.parametrize("workers", [0, 2])
def test_train_loader_started_in_the_middle_gives_the_rest(folder, workers):
    rest = train_batches(folder, epoch=3)[2:]
    assert same(rest, train_batches(folder, epoch=3, first=2, workers=workers))


def test_train_loader_varies_order_and_pictures_by_epoch(folder):
    first, second = train_batches(folder, epoch=0), train_batches(folder, epoch=1)
    assert not any(torch.equal(a, b) for (a, _), (b, _) in zip(first, second, strict=True))


def test_train_loader_ranks_together_are_one_process(folder):
    whole = train_batches(folder, batch_size=6)
    parts = [train_batches(folder, batch_size=6, rank=r, world=2) for r in range(2)]
    joined = [(torch.cat([a, c]), torch.cat([b, d])) for (a, b), (c, d) in zip(*parts, strict=True)]
    assert same(whole, joined)


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_leave_the_global_generators_alone(folder, workers):
    def state():
        numpy = str(np.random.get_state())  # noqa: NPY002
        return random.getstate(), numpy, torch.get_rng_state().tolist()

    before = state()
    train_batches(folder, workers=workers)
    list(eval_loader(source(folder, eval_transform(SETTINGS)), batch_size=4, workers=workers))
    assert state() == before


def test_eval_loader_gives_every_sample_once_in_order(folder):
    opened = source(folder, eval_transform(SETTINGS))
    batches = list(eval_loader(opened, batch_size=4))
    images = torch.cat([images for images, _ in batches])
    targets = torch.cat([targets for _, targets in batches])
    assert targets.tolist() == [0] * 9 + [1] * 9
    assert torch.equal(images, torch.stack([opened[i][0] for i in range(18)]))


def test_eval_loader_shares_cover_the_data(folder):
    opened = source(folder, eval_transform(SETTINGS))
    parts = [eval_loader(opened, batch_size=8, rank=r, world=4) for r in range(4)]
    assert sum(len(targets) for part in parts for _, targets in part) == 18


def spoil(folder):
    bad = folder / "b" / "3.png"
    bad.write_bytes(bad.read_bytes()[:300])
    return str(bad)


@pytest.mark.parametrize("workers", [0, 2])
def test_train_loader_stops_at_a_damaged_image_with_one_clean_line(folder, workers):
    bad = spoil(folder)
    with pytest.raises(ImageError) as caught:
        train_batches(folder, workers=workers)
    assert caught.value.path == bad
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_eval_loader_skips_and_reports_a_damaged_image(folder, workers):
    bad = spoil(folder)
    opened = source(folder, eval_transform(SETTINGS))
    batches = list(eval_loader(opened, batch_size=4, workers=workers, on_error="skip"))
    assert all(isinstance(batch, PartialBatch) for batch in batches)
    assert [len(batch.batch[1]) for batch in batches] == [4, 4, 4, 3, 2]
    assert [failure.path for batch in batches for failure in batch.failures] == [bad]


def test_eval_loader_survives_a_batch_of_damaged_images_only(folder):
    bad = spoil(folder)
    opened = source(folder, eval_transform(SETTINGS))
    batches = list(eval_loader(opened, batch_size=1, on_error="skip"))
    assert batches[12].batch is None
    assert batches[12].failures[0].path == bad
    assert "damaged" in batches[12].failures[0].reason


def test_loaders_refuse_impossible_batches(folder):
    opened = source(folder, eval_transform(SETTINGS))
    with pytest.raises(UserError, match="lower the batch size"):
        train_loader(opened, batch_size=32, seed=0)
    with pytest.raises(UserError, match="batch of 5 over 2"):
        train_loader(opened, batch_size=5, seed=0, world=2)
