import dataclasses

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data.transforms_factory import create_transform

from spanetv2.data.preprocessing import Preprocessing, eval_transform
from spanetv2.data.seeded import seeded
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.transforms import Augmentation, train_transform

IMAGENET = Augmentation(
    auto_augment="rand-m9-mstd0.5-inc1", re_prob=0.25, re_mode="pixel", re_count=1, hflip=0.5
)
PLAIN = Augmentation(crop="none", hflip=0.0)


def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(width * 1000 + height)
    shape = (height, width, 3) if mode == "RGB" else (height, width)
    return Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))


@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
@pytest.mark.parametrize("size", [(64, 48), (33, 90), (20, 20)])
def test_eval_transform_equals_timm(crop_mode, size):
    settings = Preprocessing(input_size=(3, 32, 32), crop_pct=0.9, crop_mode=crop_mode)
    image = photo(*size)
    theirs = create_transform(**settings.to_dict(), is_training=False)
    assert torch.equal(eval_transform(settings)(image), theirs(image))  # pyright: ignore


def test_eval_transform_gives_normalised_pixels():
    image = Image.new("RGB", (8, 8), (255, 0, 51))
    settings = Preprocessing(input_size=(3, 8, 8), mean=(0.5, 0.0, 0.2), std=(0.5, 1.0, 0.1))
    out = eval_transform(settings)(image)
    assert out.shape == (3, 8, 8)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out[:, 3, 3], torch.tensor([1.0, 0.0, 0.0]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("channels", "mode"), [(1, "RGB"), (3, "L"), (1, "L"), (3, "RGB")])
def test_transforms_bring_images_to_the_channels_of_the_network(channels, mode):
    settings = Preprocessing(input_size=(channels, 24, 16), mean=(0.5,) * 3, std=(0.5,) * 3)
    image = photo(40, 30, mode)
    assert eval_transform(settings)(image).shape == (channels, 24, 16)
    with seeded(0):
        assert train_transform(settings, IMAGENET)(image).shape == (channels, 24, 16)


@pytest.mark.parametrize("policy", ["rand-m9-mstd0.5-inc1", "augmix-m3-w3", "3a", "original"])
@pytest.mark.parametrize("channels", [1, 3])
def test_train_transform_policies_run_on_grey_and_colour(policy, channels):
    settings = Preprocessing(input_size=(channels, 16, 16), mean=(0.5,) * 3, std=(0.5,) * 3)
    transform = train_transform(settings, Augmentation(auto_augment=policy))
    for seed in range(20):
        with seeded(seed):
            out = transform(photo(30, 20, "RGB"))
        assert out.shape == (channels, 16, 16)
        assert torch.isfinite(out).all()


def test_train_transform_posterizes_to_black_at_the_highest_magnitude():
    settings = Preprocessing(input_size=(3, 16, 16), mean=(0.0,) * 3, std=(1.0,) * 3)
    augmentation = Augmentation(crop="none", auto_augment="rand-m10-n1-inc1-p1", hflip=0.0)
    transform = train_transform(settings, augmentation)
    black = 0
    for seed in range(150):
        with seeded(seed):
            black += int(transform(photo(16, 16)).sum() == 0)
    assert black > 0


def test_train_transform_without_augmentation_keeps_tiny_images_as_they_are():
    settings = Preprocessing(input_size=(1, 8, 8), mean=(0.0,), std=(1.0,))
    image = photo(8, 8, "L")
    out = train_transform(settings, PLAIN)(image)
    assert torch.equal((out[0] * 255).round(), torch.tensor(np.asarray(image).tolist()))


def test_train_transform_shift_moves_the_image_by_whole_pixels():
    settings = Preprocessing(input_size=(1, 8, 8), mean=(0.0,), std=(1.0,))
    image = Image.new("L", (8, 8), 0)
    image.putpixel((4, 4), 255)
    transform = train_transform(settings, dataclasses.replace(PLAIN, shift=2))
    places = set()
    for seed in range(200):
        with seeded(seed):
            out = transform(image)[0]
        assert out.sum() == 1
        y, x = divmod(int(out.argmax()), 8)
        places.add((y - 4, x - 4))
    assert places == {(y, x) for y in range(-2, 3) for x in range(-2, 3)}


@pytest.mark.parametrize("padding", ["constant", "edge", "reflect"])
def test_train_transform_shift_fills_as_asked(padding):
    settings = Preprocessing(input_size=(3, 8, 8), mean=(0.0,) * 3, std=(1.0,) * 3)
    augmentation = dataclasses.replace(PLAIN, shift=2, shift_padding=padding)
    transform = train_transform(settings, augmentation)
    padded = np.pad(np.asarray(photo(8, 8)), [(2, 2), (2, 2), (0, 0)], mode=padding)
    windows = {padded[y : y + 8, x : x + 8].tobytes(): (y, x) for y in range(5) for x in range(5)}
    found = set()
    for seed in range(200):
        with seeded(seed):
            out = transform(photo(8, 8))
        found.add(windows[(out * 255).round().byte().permute(1, 2, 0).numpy().tobytes()])
    assert len(found) == 25


@pytest.mark.parametrize("channels", [1, 3])
def test_train_transform_normalises_as_torchvision_to_the_last_bit(channels):
    from torchvision.transforms import Compose, Normalize, ToTensor

    settings = Preprocessing(
        input_size=(channels, 16, 16), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )
    image = photo(16, 16, "L" if channels == 1 else "RGB")
    theirs = Compose([ToTensor(), Normalize(settings.mean, settings.std)])
    assert torch.equal(train_transform(settings, PLAIN)(image), theirs(image))


def test_train_transform_flips_and_erases_at_the_asked_rate():
    settings = Preprocessing(input_size=(1, 8, 8), mean=(0.0,), std=(1.0,))
    image = Image.new("L", (8, 8), 255)
    image.putpixel((0, 0), 0)
    flip = train_transform(settings, dataclasses.replace(PLAIN, hflip=0.25))
    erase = train_transform(settings, dataclasses.replace(PLAIN, re_prob=0.25, re_mode="const"))
    flipped = erased = 0
    for seed in range(400):
        with seeded(seed):
            flipped += int(flip(image)[0, 0, 7] == 0)
        with seeded(seed):
            erased += int((erase(image) == 0).sum() > 1)
    assert 70 < flipped < 130
    assert 70 < erased < 130


@pytest.mark.parametrize("size", [(1, 1), (1, 20000), (20000, 1), (3, 7)])
@pytest.mark.parametrize("crop_mode", ["center", "squash", "border"])
def test_eval_transform_survives_extreme_shapes(size, crop_mode):
    settings = Preprocessing(input_size=(3, 32, 32), crop_mode=crop_mode)
    assert eval_transform(settings)(Image.new("RGB", size)).shape == (3, 32, 32)


@pytest.mark.parametrize("crop", ["rrc", "rkrc", "rkrr", "none"])
@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 2)])
def test_train_transform_survives_extreme_shapes(size, crop):
    transform = train_transform(Preprocessing(input_size=(3, 32, 32)), Augmentation(crop=crop))
    with seeded(1):
        assert transform(Image.new("RGB", size)).shape == (3, 32, 32)


def test_eval_transform_of_a_long_image_shows_its_middle():
    strip = np.zeros((4, 4000, 3), dtype=np.uint8)
    strip[:, 1998:2002] = 255
    settings = Preprocessing(input_size=(3, 4, 4), mean=(0.0,) * 3, std=(1.0,) * 3)
    assert eval_transform(settings)(Image.fromarray(strip)).min() == 1


def test_preprocessing_survives_the_round_trip():
    settings = Preprocessing(input_size=(1, 28, 28), mean=(0.3,), std=(0.2,), crop_pct=0.9)
    assert Preprocessing.from_dict(settings.to_dict()) == settings
    assert settings.to_dict()["input_size"] == [1, 28, 28]


def test_preprocessing_of_model_reads_what_timm_records():
    model = timm.create_model("resnet10t", num_classes=2, in_chans=1)
    settings = Preprocessing.of_model(model)
    assert settings.input_size[0] == 1
    assert len(settings.mean) == 1
    assert settings.crop_pct == getattr(model, "pretrained_cfg")["crop_pct"]  # noqa: B009


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"input_size": (3, 224)}, "input_size"),
        ({"input_size": (5, 8, 8)}, "5 input channels"),
        ({"mean": (0.5, 0.5)}, "2 values of mean for 3 channels"),
        ({"std": (0.5, 0.0, 0.5)}, "above 0"),
        ({"interpolation": "cubic"}, "interpolation 'cubic'"),
        ({"crop_mode": "middle"}, "crop_mode 'middle'"),
        ({"crop_pct": 1.5}, "crop_pct 1.5"),
        ({"colour": 1}, "preprocessing fields colour"),
    ],
)
def test_preprocessing_refuses_wrong_values(values, message):
    with pytest.raises(UserError, match=message):
        Preprocessing.from_dict(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop": "random"}, "crop 'random'"),
        ({"scale": (0.5, 0.1)}, "scale"),
        ({"hflip": 1.5}, "hflip 1.5"),
        ({"re_mode": "noise"}, "re_mode"),
        ({"shift": -1, "crop": "none"}, "got shift -1"),
        ({"shift": 2}, "expected crop 'none'"),
    ],
)
def test_augmentation_refuses_wrong_values(values, message):
    with pytest.raises(UserError, match=message):
        Augmentation(**values)
