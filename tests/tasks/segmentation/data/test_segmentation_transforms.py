import numpy as np
import pytest
import segmentation_data
import torch
from PIL import Image

from spanetv2.data.seeded import seeded
from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.data.transforms import (
    Augmentation,
    EvalTransform,
    Preprocessing,
    TrainTransform,
    Views,
    collate_views,
    fitted_size,
)

PLAIN = Preprocessing(size=None, mean=(0.0,) * 3, std=(1.0,) * 3)
STILL = {"scale": (1.0, 1.0), "hflip": 0.0, "photometric": 0.0, "max_share": 1.0}


def transformed(augmentation, *, seed=0, preprocessing=PLAIN, size=(24, 32)):
    pixels, labels = segmentation_data.scene(3, size)
    with seeded(seed):
        return TrainTransform(preprocessing, augmentation)(Image.fromarray(pixels), labels)


def seen_labels(image_CHW):
    """The class that every pixel's colour tells; -1 for other colours."""
    pixels = (image_CHW.permute(1, 2, 0).numpy() * 255).round().astype(int)
    same = (pixels[..., None, :] == segmentation_data.COLOURS.astype(int)).all(-1)
    return np.where(same.any(-1), same.argmax(-1), -1)


@pytest.mark.parametrize(
    ("size", "limits", "factor", "expected"),
    [
        ((683, 512), (2048, 512), 1.0, (683, 512)),
        ((512, 683), (2048, 512), 1.0, (512, 683)),
        ((640, 480), (2048, 512), 0.5, (341, 256)),
        ((3000, 300), (2048, 512), 1.0, (2048, 205)),
        ((3000, 300), (2048, 512), 2.0, (4096, 410)),
        ((100, 50), None, 1.5, (150, 75)),
        ((1, 1000), (2048, 512), 0.5, (1, 1024)),
    ],
)
def test_fitted_size_keeps_the_ratio_within_both_limits(size, limits, factor, expected):
    assert fitted_size(size, limits, factor) == expected


def test_eval_transform_resizes_the_image_alone():
    pixels, labels = segmentation_data.scene(0, (30, 50))
    views = EvalTransform(Preprocessing(size=(64, 15)), (1.0, 2.0))(Image.fromarray(pixels), labels)
    assert [tuple(view.shape) for view in views.images] == [(3, 15, 25), (3, 30, 50)]
    assert np.array_equal(views.masks.numpy(), labels)
    assert np.array_equal(views.images[1].permute(1, 2, 0).numpy(), pixels)
    settings = Preprocessing(size=None, channels=1)
    (grey,) = EvalTransform(settings)(Image.fromarray(pixels), labels).images
    assert np.array_equal(grey[0].numpy(), np.asarray(Image.fromarray(pixels).convert("L")))


def test_collate_views_stacks_what_has_one_size():
    def views(width):
        images = tuple(torch.full((3, 4, w), width, dtype=torch.uint8) for w in (width, 2 * width))
        return Views(images, torch.zeros(4, width, dtype=torch.uint8))

    (batch,) = collate_views([views(5), views(5)])
    assert [tuple(x.shape) for x in (*batch.images, batch.masks)] == [
        *((2, 3, 4, 5), (2, 3, 4, 10), (2, 4, 5))
    ]
    first, second = collate_views([views(5), views(6)])
    assert (first.masks.shape, second.masks.shape) == ((1, 4, 5), (1, 4, 6))
    assert second.images[1].shape == (1, 3, 4, 12)
    assert (second.images[1] == 6).all()


def test_train_transform_moves_image_and_labels_together():
    for seed in range(20):
        augmentation = Augmentation(crop=(16, 20), photometric=0.0, scale=(1.0, 1.0))
        sample = transformed(augmentation, seed=seed)
        assert sample.image.shape == (3, 16, 20)
        assert sample.mask.dtype == torch.uint8
        assert np.array_equal(seen_labels(sample.image), sample.mask.numpy())


def test_train_transform_scales_image_and_labels_together():
    sizes = set()
    for seed in range(12):
        settings = Augmentation(crop=(64, 64), **{**STILL, "scale": (0.5, 2.0)})
        sample = transformed(settings, seed=seed)
        inside = sample.mask != 255
        sizes.add((int(inside.any(1).sum()), int(inside.any(0).sum())))
        seen, labels = seen_labels(sample.image), sample.mask.numpy()
        exact = (seen >= 0) & (labels != 255)
        # Blended pixels at the edges of rectangles have no class's colour.
        assert exact.sum() > 0.7 * inside.sum()
        assert (seen[exact] == labels[exact]).mean() > 0.98
    heights = [height for height, _ in sizes]
    assert min(heights) >= 12
    assert max(heights) <= 48
    assert len(sizes) > 8
    assert all(abs(w / h - 32 / 24) < 0.1 for h, w in sizes)


def test_train_transform_pads_with_the_mean_and_no_label():
    settings = Preprocessing(size=None)
    sample = transformed(Augmentation(crop=40, **STILL), preprocessing=settings)
    assert (sample.mask[24:] == 255).all()
    assert (sample.mask[:, 32:] == 255).all()
    assert not (sample.mask[:24, :32] == 255).any()
    assert not sample.image[:, 24:].any()
    assert not sample.image[:, :, 32:].any()
    assert sample.image[:, :24, :32].abs().min() > 0.01


def test_train_transform_flips_half_of_the_time():
    still = transformed(Augmentation(crop=(24, 32), **STILL))
    always = transformed(Augmentation(crop=(24, 32), **{**STILL, "hflip": 1.0}))
    assert torch.equal(always.image, still.image.flip(-1))
    assert torch.equal(always.mask, still.mask.flip(-1))
    flipped = 0
    for seed in range(60):
        sample = transformed(Augmentation(crop=(24, 32), **{**STILL, "hflip": 0.5}), seed=seed)
        flipped += not torch.equal(sample.mask, still.mask)
    assert 18 <= flipped <= 42


def test_crops_of_one_class_are_drawn_again():
    labels = np.zeros((40, 40), dtype=np.uint8)
    labels[:, 32:] = 1
    labels[:4] = 255
    image = Image.fromarray(segmentation_data.COLOURS[np.minimum(labels, 2)])
    shares = {}
    for share in (1.0, 0.75):
        augmentation = Augmentation(crop=12, **{**STILL, "max_share": share})
        found = []
        for seed in range(60):
            with seeded(seed):
                mask = TrainTransform(PLAIN, augmentation)(image, labels).mask
            counts = torch.bincount(mask.flatten().long(), minlength=256)[:2]
            found.append((counts.max() / counts.sum()).item() > 0.75)
        shares[share] = sum(found) / len(found)
    assert shares[1.0] > 0.6
    assert shares[0.75] < 0.3


def test_colours_are_distorted_within_their_limits():
    still = transformed(Augmentation(crop=(24, 32), **STILL)).image
    changed = 0
    for seed in range(30):
        sample = transformed(
            Augmentation(crop=(24, 32), **{**STILL, "photometric": 0.5}), seed=seed
        )
        assert sample.image.min() >= 0
        assert sample.image.max() <= 1
        changed += not torch.equal(sample.image, still)
        assert torch.equal(sample.mask, transformed(Augmentation(crop=(24, 32), **STILL)).mask)
    assert 20 <= changed <= 30
    only = {"contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    settings = Augmentation(crop=(24, 32), brightness=32, **only, **{**STILL, "photometric": 1.0})
    shifts = {
        round(255 * (transformed(settings, seed=i).image - still)[0, 0, 0].item())
        for i in range(40)
    }
    assert -33 <= min(shifts) < -10 < 10 < max(shifts) <= 32
    only = {"contrast": 0.0, "saturation": 0.0, "brightness": 0.0}
    settings = Augmentation(crop=(24, 32), hue=0.1, **only, **{**STILL, "photometric": 1.0})
    turned = [transformed(settings, seed=i).image for i in range(20)]
    assert any((x - still).abs().max() > 0.2 for x in turned)
    # Turning the hue leaves the largest channel of a pixel (its value) as it was.
    assert all((x.amax(0) - still.amax(0)).abs().max() < 0.02 for x in turned)


def test_train_transform_is_a_function_of_the_seed():
    augmentation = Augmentation(crop=16)
    first, again, other = (transformed(augmentation, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.mask, again.mask)
    assert not torch.equal(first.image, other.image)


def test_settings_are_checked():
    for make, message in (
        (lambda: Preprocessing(channels=2), "got 2 input channels"),
        (lambda: Preprocessing(size=(0, 4)), r"got size \(0, 4\)"),
        (lambda: Preprocessing(std=(0.0, 1, 1)), "expected values above 0"),
        (lambda: Preprocessing(mean=(0.5,)), "got 1 values of mean for 3 channels"),
        (lambda: Preprocessing.from_dict({"sizes": 1}), "got preprocessing fields sizes"),
        (lambda: Augmentation(scale=(2.0, 1.0)), r"got scale \(2\.0, 1\.0\)"),
        (lambda: Augmentation(crop=0), "got crop 0"),
        (lambda: Augmentation(hflip=2.0), r"got hflip 2\.0"),
        (lambda: Augmentation(hue=0.6), r"hue 0\.6"),
    ):
        with pytest.raises(UserError, match=message):
            make()
    settings = Preprocessing(size=(100, 200), channels=1)
    assert settings.size == (200, 100)
    assert Preprocessing.from_dict(settings.to_dict()) == settings
