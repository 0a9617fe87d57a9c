"""Random variation of training images.

The work is timm's (``timm.data.create_transform``); here are typed settings for it, and a path for
images so small that cropping a random part would lose them.
"""

import dataclasses
from typing import Any, Literal

import torch
from PIL import Image
from timm.data.auto_augment import posterize
from timm.data.transforms_factory import create_transform
from torchvision import transforms as tv
from torchvision.transforms.functional import pad

from spanetv2.data.preprocessing import (
    INTERPOLATIONS,
    LimitAspect,
    Preprocessing,
    ToChannels,
    Transform,
    normalizing_last,
    one_of,
)
from spanetv2.errors import UserError

__all__ = ["Augmentation", "train_transform"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training images are varied; the defaults are a random resized crop and a flip.

    Mixup and cutmix act on whole batches and are therefore part of the training step.
    """

    crop: Literal["rrc", "rkrc", "rkrr", "none"] = "rrc"
    """rrc: random resized crop; rkrc, rkrr: timm's resize-keep-ratio with a central or random crop;
    none: the whole image resized to the input size, for tiny images."""
    scale: tuple[float, float] = (0.08, 1.0)
    """Area of the crop over that of the image."""
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    """Width over height of the crop."""
    interpolation: str = "random"
    """As in preprocessing, or random (bilinear or bicubic, drawn per image)."""
    shift: int = 0
    """With crop none: pixels of padding on each side before a crop at a random place."""
    shift_padding: Literal["constant", "edge", "reflect"] = "constant"
    """What the padding holds; constant is black."""
    rotate: float = 0.0
    """With crop none: rotation by up to this many degrees either way, black outside."""
    hflip: float = 0.5
    """Probability of a left-right flip."""
    vflip: float = 0.0
    """Probability of an upside-down flip."""
    color_jitter: float | None = None
    """Strength of brightness, contrast and saturation changes; unused beside auto_augment."""
    auto_augment: str | None = None
    """timm's policy string, such as rand-m9-mstd0.5-inc1."""
    re_prob: float = 0.0
    """Probability of random erasing."""
    re_mode: Literal["const", "rand", "pixel"] = "pixel"
    """Fill of the erased box: 0, one random colour, or a random value per pixel."""
    re_count: int = 1
    """Most boxes erased per image."""

    def __post_init__(self) -> None:
        one_of("crop", self.crop, ("rrc", "rkrc", "rkrr", "none"))
        one_of("interpolation", self.interpolation, (*INTERPOLATIONS, "random"))
        one_of("shift_padding", self.shift_padding, ("constant", "edge", "reflect"))
        one_of("re_mode", self.re_mode, ("const", "rand", "pixel"))
        for name in ("scale", "ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise UserError(f"got {name} {(low, high)}, expected 0 < low <= high")
        for name in ("hflip", "vflip", "re_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"got {name} {getattr(self, name)}, expected a probability")
        for name, least in (("shift", 0), ("rotate", 0), ("color_jitter", 0), ("re_count", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"got {name} {value}, expected {least} or more")
        if self.crop != "none" and (self.shift or self.rotate):
            raise UserError(f"got shift or rotate with crop {self.crop!r}, expected crop 'none'")


def train_transform(preprocessing: Preprocessing, augmentation: Augmentation) -> Transform:
    """The training transform: Pillow image -> float32 tensor (C, H, W), normalised.

    Draws from Python's, NumPy's and PyTorch's global generators, as timm does;
    ``SeededDataset`` makes the result a function of seed, epoch and index.
    """
    a, p = augmentation, preprocessing
    stages = create_transform(
        input_size=p.input_size,
        is_training=True,
        separate=True,
        train_crop_mode=None if a.crop == "none" else a.crop,
        scale=a.scale,
        ratio=a.ratio,
        hflip=a.hflip,
        vflip=a.vflip,
        color_jitter=a.color_jitter,  # pyright: ignore[reportArgumentType] - None is none
        auto_augment=a.auto_augment,
        interpolation=a.interpolation,
        mean=p.mean,
        std=p.std,
        re_prob=a.re_prob,
        re_mode=a.re_mode,
        re_count=a.re_count,
    )
    assert isinstance(stages, tuple)
    steps = [step for stage in stages for step in stage.transforms]
    for step in steps:
        _allow_posterize_to_nothing(step)
    if a.crop == "none":
        # timm always crops first (one step); everything after it is kept.
        steps = [*_whole_image(p, a), *steps[1:]]
    guards: list[Any] = [ToChannels(p.input_size[0])]
    if a.crop in ("rkrc", "rkrr"):
        guards.append(LimitAspect())
    return tv.Compose([*guards, *normalizing_last(steps, p)])


def _whole_image(preprocessing: Preprocessing, augmentation: Augmentation) -> list[Any]:
    name = augmentation.interpolation
    mode = tv.InterpolationMode(preprocessing.interpolation if name == "random" else name)
    size = preprocessing.input_size[1:]
    steps: list[Any] = [tv.Resize(size, interpolation=mode)]
    if augmentation.rotate:
        turn = tv.InterpolationMode.BILINEAR
        steps.append(tv.RandomRotation(augmentation.rotate, interpolation=turn))
    if augmentation.shift:
        steps.append(RandomShift(augmentation.shift, padding=augmentation.shift_padding))
    return steps


class RandomShift:
    """Move an image by up to ``reach`` pixels either way: pad on all sides, crop at random."""

    def __init__(self, reach: int, *, padding: Literal["constant", "edge", "reflect"]):
        self.reach = reach
        self.padding = padding

    def __call__(self, image: Image.Image) -> Image.Image:
        left, top = torch.randint(2 * self.reach + 1, (2,)).tolist()
        if self.padding == "constant":  # the common case, much faster than padding
            moved = Image.new(image.mode, image.size)
            moved.paste(image, (self.reach - left, self.reach - top))
            return moved
        padded: Any = pad(image, [self.reach], padding_mode=self.padding)  # pyright: ignore
        return padded.crop((left, top, left + image.width, top + image.height))


def _allow_posterize_to_nothing(step: Any) -> None:
    """Mend timm's policies, which now and then ask Pillow to keep 0 bits per pixel.

    RandAugment's m9-mstd0.5-inc1 does at magnitude 10. Pillow used to answer with a black image,
    on which the published recipes rest; recent ones raise.
    """
    policies = getattr(step, "policy", None) or [getattr(step, "ops", None) or []]
    for operation in (op for policy in policies for op in policy):
        if operation.aug_fn is posterize:
            operation.aug_fn = _posterize


def _posterize(image: Image.Image, bits_to_keep: int, **options: Any) -> Image.Image:
    if bits_to_keep < 1:
        return Image.new(image.mode, image.size)
    return posterize(image, bits_to_keep, **options)
