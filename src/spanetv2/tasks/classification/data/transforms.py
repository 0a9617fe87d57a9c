"""From a Pillow image to the network's input, for training and for evaluation.

The work is timm's (``timm.data.create_transform``); here are typed settings for it, a path for
images so small that cropping a random part would lose them, and two guards: images are brought to
the network's number of channels, and extremely long ones are cut before a resize could turn a few
kilobytes into gigabytes.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from timm.data.auto_augment import posterize
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn
from torchvision import transforms as tv
from torchvision.transforms.functional import pad

from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.source import Transform

__all__ = ["Augmentation", "Preprocessing", "eval_transform", "train_transform"]

_INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
_MODES = {1: "L", 3: "RGB"}
_LONGEST = 32  # sides of more than 32 to 1 are cut to their middle


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an image becomes the network's input in evaluation.

    The field names are timm's, so ``timm.data.create_transform(**preprocessing.to_dict())`` gives
    the same transform. Channel statistics of 3 values are averaged for a network with 1 channel.
    """

    input_size: tuple[int, int, int] = (3, 224, 224)
    """Channels (1 or 3), height and width in pixels."""
    mean: tuple[float, ...] = IMAGENET_DEFAULT_MEAN
    """Subtracted from values in 0..1, per channel."""
    std: tuple[float, ...] = IMAGENET_DEFAULT_STD
    """Divided by, per channel."""
    interpolation: str = "bicubic"
    """nearest, bilinear, bicubic, box, hamming or lanczos."""
    crop_pct: float = 1.0
    """Side of the crop over the side it is cut from, in (0, 1]."""
    crop_mode: str = "center"
    """center (the image's middle), squash (all of it, distorted) or border (all of it, padded)."""

    def __post_init__(self) -> None:
        size = tuple(int(value) for value in self.input_size)
        if len(size) != 3 or min(size) < 1:
            raise UserError(f"got input_size {self.input_size}, expected (channels, height, width)")
        if size[0] not in _MODES:
            raise UserError(
                f"got {size[0]} input channels, expected 1 or 3 for image files; "
                "bring your own data set and transform for others"
            )
        object.__setattr__(self, "input_size", size)
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            if size[0] == 1 and len(values) == 3:
                values = (sum(values) / 3,)
            if len(values) != size[0]:
                raise UserError(f"got {len(values)} values of {name} for {size[0]} channels")
            object.__setattr__(self, name, values)
        if min(self.std) <= 0:
            raise UserError(f"got std {self.std}, expected values above 0")
        _one_of("interpolation", self.interpolation, _INTERPOLATIONS)
        _one_of("crop_mode", self.crop_mode, ("center", "squash", "border"))
        if not 0 < self.crop_pct <= 1:
            raise UserError(f"got crop_pct {self.crop_pct}, expected a value in (0, 1]")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as stored beside the weights."""
        plain = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Preprocessing":
        """The inverse of ``to_dict``; missing fields take their default.

        Raises:
            UserError: an unknown field, or a value out of range.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise UserError(
                f"got preprocessing fields {', '.join(unknown)}, "
                f"expected {', '.join(sorted(known))}"
            )
        return cls(**values)

    @classmethod
    def of_model(cls, model: nn.Module) -> "Preprocessing":
        """What timm records of a model (``pretrained_cfg``) about its input."""
        from timm.data.config import resolve_model_data_config

        known = {field.name for field in dataclasses.fields(cls)}
        config = resolve_model_data_config(model)
        channels = getattr(model, "in_chans", None) or config["input_size"][0]
        size = (channels, *config["input_size"][1:])
        return cls(**{**{k: v for k, v in config.items() if k in known}, "input_size": size})

    @classmethod
    def of_checkpoint(cls, model: nn.Module, recorded: Mapping[str, Any] | None) -> "Preprocessing":
        """What a checkpoint records, or else what timm records of the model.

        Raises:
            UserError: the record does not fit the model's input channels.
        """
        if recorded is None:
            return cls.of_model(model)
        settings = cls.from_dict(recorded)
        channels = getattr(model, "in_chans", settings.input_size[0])
        if channels != settings.input_size[0]:
            raise UserError(
                f"got preprocessing for {settings.input_size[0]} channels in a checkpoint of a "
                f"model with {channels}; the checkpoint contradicts itself"
            )
        return settings


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
        _one_of("crop", self.crop, ("rrc", "rkrc", "rkrr", "none"))
        _one_of("interpolation", self.interpolation, (*_INTERPOLATIONS, "random"))
        _one_of("shift_padding", self.shift_padding, ("constant", "edge", "reflect"))
        _one_of("re_mode", self.re_mode, ("const", "rand", "pixel"))
        for name in ("scale", "ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise UserError(f"got {name} {(low, high)}, expected 0 < low <= high")
        for name in ("hflip", "vflip", "re_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"got {name} {getattr(self, name)}, expected a probability")
        if self.shift < 0 or self.rotate < 0 or self.re_count < 1:
            raise UserError("got a negative shift or rotation, or re_count below 1")
        if self.crop != "none" and (self.shift or self.rotate):
            raise UserError(f"got shift or rotate with crop {self.crop!r}, expected crop 'none'")


def eval_transform(preprocessing: Preprocessing) -> Transform:
    """The evaluation transform: Pillow image -> float32 tensor (C, H, W), normalised."""
    guards = [ToChannels(preprocessing.input_size[0]), LimitAspect()]
    if preprocessing.crop_mode == "squash":
        guards.pop()
    timm_transform = create_transform(**preprocessing.to_dict(), is_training=False)
    assert isinstance(timm_transform, tv.Compose)
    return tv.Compose([*guards, *_with_our_tensors(timm_transform.transforms, preprocessing)])


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
    return tv.Compose([*guards, *_with_our_tensors(steps, p)])


def _with_our_tensors(steps: Sequence[Any], preprocessing: Preprocessing) -> list[Any]:
    at = next(i for i, step in enumerate(steps) if isinstance(step, tv.ToTensor))
    assert isinstance(steps[at + 1], tv.Normalize)
    ours = ToNormalizedTensor(preprocessing.mean, preprocessing.std)
    return [*steps[:at], ours, *steps[at + 2 :]]


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


class ToNormalizedTensor:
    """Pillow image -> float32 (C, H, W), as torchvision's ToTensor and Normalize to the last bit.

    Those two take three times as long, which counts with tiny images on few cores.
    """

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]):
        self.mean = torch.tensor(mean)[:, None, None]
        self.std = torch.tensor(std)[:, None, None]

    def __call__(self, image: Image.Image) -> Tensor:
        pixels_HWC = torch.from_numpy(np.array(image, dtype=np.float32))
        if pixels_HWC.ndim == 2:
            pixels_HWC = pixels_HWC[..., None]
        return pixels_HWC.permute(2, 0, 1).contiguous().div_(255).sub_(self.mean).div_(self.std)


class ToChannels:
    """Bring a Pillow image to 1 (``L``) or 3 (``RGB``) channels."""

    def __init__(self, channels: int):
        self.mode = _MODES[channels]

    def __call__(self, image: Image.Image) -> Image.Image:
        return image if image.mode == self.mode else image.convert(self.mode)


class LimitAspect:
    """Cut an image of more than 32 to 1 to its middle part, 32 times as long as wide.

    Resizing the short side of a 1 x 20,000 image to 224 would need 1 billion pixels, all but the
    middle of which the following crop throws away.
    """

    def __call__(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        longest = _LONGEST * min(width, height)
        if max(width, height) <= longest:
            return image
        if width > height:
            left = (width - longest) // 2
            return image.crop((left, 0, left + longest, height))
        top = (height - longest) // 2
        return image.crop((0, top, width, top + longest))


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


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise UserError(f"got {name} {value!r}, expected one of {', '.join(allowed)}")
