"""Augmentation of images with boxes and masks."""

import numpy as np
import pytest
import torch
from coco_data import rectangle_mask, write

from spanetv2.data.loader import train_batches
from spanetv2.data.sampler import EpochSampler
from spanetv2.data.seeded import SeededDataset, seeded
from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.batch import collate
from spanetv2.tasks.detection.data.coco import CocoDetection
from spanetv2.tasks.detection.data.transforms import (
    Augmentation,
    TrainTransform,
    crop,
    flip,
    resize,
    scaled_size,
)


def sample(height=60, width=80, boxes=((10, 20, 30, 50), (40, 5, 70, 55))):
    """An image whose red and green are the objects, with its target."""
    masks = np.stack([rectangle_mask(height, width, box) for box in boxes])
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    for channel, mask in enumerate(masks[:2]):
        image[channel] = torch.from_numpy(mask) * 255
    target = {
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "labels": torch.arange(1, len(boxes) + 1),
        "masks": torch.from_numpy(masks),
        "iscrowd": torch.zeros(len(boxes), dtype=torch.int64),
        "area": torch.from_numpy(masks.sum((1, 2)).astype(np.float32)),
        "image_id": torch.tensor(9),
    }
    return image, target


def assert_belong_together(image, target, *, tolerance=0.0, apart=0.0):
    """Image, masks and boxes must still be of the same objects, at the same places.

    Of a mask, a part ``tolerance`` may differ from the image; boxes may be ``apart`` pixels from
    the mask's extent: each resizing of it costs up to half a pixel, which the next one enlarges.
    """
    height, width = image.shape[-2:]
    assert target["masks"].shape[-2:] == (height, width)
    count = len(target["labels"])
    assert all(len(target[key]) == count for key in ("boxes", "masks", "iscrowd", "area"))
    for label, mask, box in zip(
        target["labels"].tolist(), target["masks"], target["boxes"].tolist(), strict=True
    ):
        shown = image[label - 1] > 127
        assert (shown != mask.bool()).sum() <= tolerance * mask.sum()
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.abs(np.subtract(box, [int(v) for v in extent])).max() <= apart


def test_flip_mirrors_everything():
    image, target = flip(*sample())
    assert target["boxes"].tolist() == [[50, 20, 70, 50], [10, 5, 40, 55]]
    assert_belong_together(image, target)
    again, back = flip(image, target)
    assert torch.equal(again, sample()[0])
    assert torch.equal(back["boxes"], sample()[1]["boxes"])


def test_resize_scales_everything():
    image, target = resize(*sample(), (120, 240))
    assert image.dtype == torch.uint8
    assert image.shape == (3, 120, 240)
    assert target["boxes"].tolist() == [[30, 40, 90, 100], [120, 10, 210, 110]]
    assert target["area"].tolist() == [600 * 6, 1500 * 6]
    assert_belong_together(image, target, tolerance=0.05, apart=0.5)
    smaller, target = resize(*sample(), (30, 40))
    assert_belong_together(smaller, target, tolerance=0.1, apart=0.5)
    same, _ = resize(*sample(), (60, 80))
    assert torch.equal(same, sample()[0])


def test_crop_cuts_boxes_and_leaves_out_what_is_gone():
    image, target = crop(*sample(), (0, 20, 40, 25))
    assert image.shape == (3, 40, 25)
    assert target["boxes"].tolist() == [[0, 20, 10, 40], [20, 5, 25, 40]]
    assert_belong_together(image, target)
    image, target = crop(*sample(), (0, 32, 60, 48))
    assert target["labels"].tolist() == [2]
    assert_belong_together(image, target)
    image, target = crop(*sample(), (0, 0, 5, 5))
    assert target["boxes"].shape == (0, 4)
    assert target["masks"].shape == (0, 5, 5)


def test_images_without_objects_pass():
    image, target = crop(*sample(), (0, 0, 8, 8))
    for step in (flip, lambda i, t: resize(i, t, (20, 30)), lambda i, t: crop(i, t, (1, 1, 4, 4))):
        after, left = step(image, target)
        assert left["boxes"].shape == (0, 4)
        assert left["masks"].shape == (0, *after.shape[-2:])


def test_scaled_size_keeps_the_ratio_within_the_long_side():
    assert scaled_size(torch.empty(3, 480, 640), 800, 1333) == (800, 1067)
    assert scaled_size(torch.empty(3, 640, 480), 800, 1333) == (1067, 800)
    assert scaled_size(torch.empty(3, 100, 400), 800, 1333) == (333, 1333)
    assert scaled_size(torch.empty(3, 1, 5000), 800, 1333) == (1, 1333)


def test_published_augmentation_draws_what_is_published():
    transform = TrainTransform(Augmentation())
    image, target = sample(480, 640, ((100, 100, 400, 400), (300, 50, 600, 450)))
    shorts, ratios, flipped, empty = [], [], 0, 0
    with seeded(0):
        for _ in range(300):
            after, left = transform(image, target)
            assert max(after.shape[-2:]) <= 1333
            shorts.append(min(after.shape[-2:]))
            ratios.append(round(after.shape[-1] / after.shape[-2], 2))
            assert_belong_together(after, left, tolerance=0.05, apart=2)
            empty += not len(left["labels"])
            both = left["labels"].tolist() == [1, 2] and ratios[-1] == 1.33
            flipped += both and bool(left["boxes"][0, 0] > left["boxes"][1, 0])
    allowed = set(range(480, 801, 32))
    assert sum(short in allowed for short in shorts) > 250  # fewer only where 1333 binds
    assert {short for short in shorts if short in allowed} == allowed
    whole = sum(ratio == 1.33 for ratio in ratios)
    assert 0.4 < whole / 300 < 0.6
    assert 0.35 < flipped / whole < 0.65
    assert empty < 30
    # Pieces are drawn between 384 and 600 on each side: from square to long.
    pieces = [ratio for ratio in ratios if ratio != 1.33]
    assert min(pieces) < 0.75
    assert max(pieces) > 1.4


def test_augmentation_can_be_switched_off():
    still = Augmentation(hflip=0, crop=0, short_sides=(60,), long_side=80)
    image, target = TrainTransform(still)(*sample())
    assert torch.equal(image, sample()[0])
    assert torch.equal(target["boxes"], sample()[1]["boxes"])


def test_a_piece_of_a_small_image_is_no_larger_than_it():
    sides = {"crop_short_sides": (200,), "crop_sides": (150, 900), "short_sides": (250,)}
    always = TrainTransform(Augmentation(crop=1, **sides))
    image, target = sample(300, 400, ((50, 100, 150, 250), (200, 25, 350, 275)))
    ratios = []
    with seeded(3):
        for _ in range(30):
            after, left = always(image, target)
            assert min(after.shape[-2:]) == 250
            assert_belong_together(after, left, tolerance=0.2, apart=2)
            ratios.append(after.shape[-1] / after.shape[-2])
    # From 200 x 267: at most the whole height and width, at least 150 of each.
    assert max(ratios) <= 267 / 150 + 0.01
    assert min(ratios) >= 150 / 200 - 0.01


def test_items_are_a_function_of_seed_epoch_and_index(tmp_path):
    folder = write(tmp_path)
    small = Augmentation(short_sides=(32, 40, 48), crop_short_sides=(40, 60), crop_sides=(20, 50))
    data = CocoDetection(
        folder / "annotations.json",
        folder / "images",
        training=True,
        transform=TrainTransform(small),
    )

    def boxes(seed, epoch):
        image, target = SeededDataset(data, seed=seed)[epoch, 0]
        return [*image.shape, *target["boxes"].flatten().tolist()]

    before = torch.get_rng_state()
    assert boxes(1, 0) == boxes(1, 0)
    assert len({tuple(boxes(1, epoch)) for epoch in range(8)}) > 3
    assert torch.equal(torch.get_rng_state(), before)


def test_batches_are_the_same_with_workers(tmp_path):
    folder = write(tmp_path)
    small = Augmentation(short_sides=(32, 40, 48), crop_short_sides=(40, 60), crop_sides=(20, 50))
    data = CocoDetection(
        folder / "annotations.json",
        folder / "images",
        training=True,
        transform=TrainTransform(small),
    )
    read = []
    for workers in (0, 1):
        sampler = EpochSampler(len(data), batch_size=2, seed=0)
        loader = train_batches(data, sampler=sampler, seed=0, collate=collate, workers=workers)
        (batch,) = loader
        read.append(batch)
    for one, other in zip(read[0].images, read[1].images, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(read[0].targets, read[1].targets, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hflip": 1.5}, "got hflip 1.5, expected a probability"),
        ({"crop": -0.1}, "got crop -0.1, expected a probability"),
        ({"short_sides": ()}, r"got short_sides \(\)"),
        ({"crop_short_sides": (0,)}, r"got crop_short_sides \(0,\)"),
        ({"long_side": 500}, "got long_side 500 below short_sides up to 800"),
        ({"crop_sides": (600, 384)}, "expected 1 <= least <= greatest"),
    ],
)
def test_impossible_augmentation_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        Augmentation(**options)


def test_augmentation_as_plain_values():
    plain = Augmentation(short_sides=[64, 96]).to_dict()
    assert plain["short_sides"] == [64, 96]
    assert Augmentation(**plain) == Augmentation(short_sides=(64, 96))
