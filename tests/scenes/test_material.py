"""What scenes are made of."""

import numpy as np
from sklearn.datasets import load_digits, load_sample_image

from spanetv2.scenes import material
from spanetv2.scenes.material import PHOTOGRAPHS, columns


def test_splits_share_no_digit_and_have_all_ten():
    train, val = material("train").indices, material("val").indices
    assert not set(train.tolist()) & set(val.tolist())
    assert sorted([*train.tolist(), *val.tolist()]) == list(range(1797))
    for split in ("train", "val"):
        assert set(material(split).labels.tolist()) == set(range(10))


def test_splits_share_no_part_of_the_photographs():
    (train_first, train_end), (val_first, val_end) = columns("train"), columns("val")
    assert 0 <= train_first < train_end <= val_first < val_end <= 640
    for split in ("train", "val"):
        first, end = columns(split)
        for name, part in zip(PHOTOGRAPHS, material(split).photographs, strict=True):
            assert np.array_equal(np.asarray(part), load_sample_image(name)[:, first:end])


def test_digits_and_labels_belong_together():
    images, labels = load_digits(return_X_y=True)
    for split in ("train", "val"):
        found = material(split)
        assert np.array_equal(found.labels, labels[found.indices])
        ink = found.digits.reshape(-1, 64) * (16 / 255)
        assert np.abs(ink - images[found.indices]).max() < 0.04
