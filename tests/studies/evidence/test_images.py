"""What is drawn for a batch."""

import pytest
import torch

from spanetv2.errors import UserError
from studies.evidence.images import Batches, load


def test_a_seed_sees_the_same_images_alone_or_among_others() -> None:
    images = load("digits")
    pair = Batches(images.train_images, images.train_labels, seeds=(0, 3), batch=32, shift=1)
    alone = Batches(images.train_images, images.train_labels, seeds=(3,), batch=32, shift=1)
    for update in (0, 1, pair.per_epoch):  # the last is of the second epoch
        both, labels = pair[update]
        one, own = alone[update]
        assert torch.equal(both[1:], one)
        assert torch.equal(labels[1:], own)
        assert not torch.equal(both[0], both[1])


def test_an_epoch_has_every_image_once() -> None:
    numbers = torch.arange(10).float()[:, None, None, None].expand(10, 1, 4, 4)
    batches = Batches(numbers, torch.arange(10), seeds=(0,), batch=5)
    seen = torch.cat([batches[update][0][0, :, 0, 0, 0] for update in (0, 1)])
    assert sorted(seen.tolist()) == list(range(10))
    labels = torch.cat([batches[update][1][0] for update in (0, 1)])
    assert torch.equal(seen.long(), labels)


def test_images_are_moved_and_mirrored() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    batches = Batches(
        image.expand(64, 1, 3, 3), torch.zeros(64, dtype=torch.int64), seeds=(0,), batch=64,
        shift=1, flip=True,
    )  # fmt: skip
    found = {tuple(one.flatten().tolist()) for one in batches[0][0][0]}
    padded = torch.nn.functional.pad(image, (1, 1, 1, 1), mode="replicate")[0, 0]
    expected = set()
    for down in range(3):
        for right in range(3):
            cut = padded[down : down + 3, right : right + 3]
            expected |= {tuple(cut.flatten().tolist()), tuple(cut.flip(1).flatten().tolist())}
    assert found <= expected
    assert len(found) > 12  # of 18


def test_the_held_out_tenth_is_of_training_images() -> None:
    whole = load("digits")
    tuning = whole.held_out()
    assert len(tuning.test_labels) == round(0.1 * len(whole.train_labels))
    together = torch.cat([tuning.train_images, tuning.test_images]).flatten(1)
    assert torch.equal(
        together.sum(1).sort().values, whole.train_images.flatten(1).sum(1).sort().values
    )
    assert torch.equal(whole.held_out().test_labels, tuning.test_labels)


def test_refuses_unknown_data_and_batches_beyond_it() -> None:
    with pytest.raises(UserError, match="expected one of digits, fashion_mnist"):
        load("cifar")
    with pytest.raises(UserError, match="got batches of 4"):
        Batches(torch.zeros(3, 1, 2, 2), torch.zeros(3), seeds=(0,), batch=4)
