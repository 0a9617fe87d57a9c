"""From an image with labels to the network's input, for training and for evaluation.

All randomness is drawn from PyTorch's global generator, which ``SeededDataset`` sets per item.
Shape suffixes: C channels, H and W rows and columns.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor

from spanetv2.data.preprocessing import MOST_SIDE, check_white, without_unset
from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.data.source import IGNORED, Sample

__all__ = [
    "Augmentation",
    "EvalTransform",
    "Preprocessing",
    "TrainTransform",
    "Views",
    "collate_views",
    "fitted_size",
]

_MODES = {1: "L", 3: "RGB"}
_TRIES = 10
_BILINEAR, _NEAREST = Image.Resampling.BILINEAR, Image.Resampling.NEAREST


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What every image goes through, in training and in evaluation."""

    size: tuple[int, int] | None = (2048, 512)
    """Most that the long and the short side may have, in pixels: images are made as large as fits,
    keeping their ratio. Null keeps every image as it is."""
    channels: int = 3
    """Channels of the network's input, 1 or 3."""
    mean: tuple[float, ...] = IMAGENET_DEFAULT_MEAN
    """Subtracted from values in 0..1, per channel."""
    std: tuple[float, ...] = IMAGENET_DEFAULT_STD
    """Divided by, per channel."""
    white: int | None = None
    """Value of white in grey images of more than 8 bits; null is 65535, in training the smallest
    of 255, 1023, 4095, 16383 and 65535 that holds the training images."""

    def __post_init__(self) -> None:
        if self.channels not in _MODES:
            raise UserError(f"got {self.channels} input channels, expected 1 or 3")
        if self.size is not None:
            size = tuple(int(side) for side in self.size)
            if len(size) != 2 or min(size) < 1:
                raise UserError(f"got size {self.size}, expected (long side, short side) or null")
            if max(size) > MOST_SIDE:
                raise UserError(f"got size {self.size}, expected at most {MOST_SIDE} a side")
            object.__setattr__(self, "size", (max(size), min(size)))
        for name in ("mean", "std"):
            values = tuple(float(value) for value in getattr(self, name))
            if self.channels == 1 and len(values) == 3:
                values = (sum(values) / 3,)
            if len(values) != self.channels:
                raise UserError(f"got {len(values)} values of {name} for {self.channels} channels")
            object.__setattr__(self, name, values)
        if min(self.std) <= 0:
            raise UserError(f"got std {self.std}, expected values above 0")
        check_white(self.white)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as stored beside the weights."""
        return without_unset(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any] | None) -> "Preprocessing":
        """The inverse of ``to_dict``; missing fields take their default.

        Raises:
            UserError: an unknown field, or a value out of range.
        """
        values = dict(values or {})
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise UserError(
                f"got preprocessing fields {', '.join(unknown)}, "
                f"expected {', '.join(sorted(known))}"
            )
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**cast(Any, values))

    def in_channels(self, image: Image.Image) -> Image.Image:
        """The image with the network's number of channels."""
        mode = _MODES[self.channels]
        return image if image.mode == mode else image.convert(mode)

    def to_tensor(self, image: Image.Image) -> Tensor:
        """A Pillow image to normalised float32 (C, H, W)."""
        pixels_HWC = torch.from_numpy(np.array(self.in_channels(image), dtype=np.float32))
        if pixels_HWC.ndim == 2:
            pixels_HWC = pixels_HWC[..., None]
        mean, std = torch.tensor(self.mean), torch.tensor(self.std)
        return pixels_HWC.div_(255).sub_(mean).div_(std).permute(2, 0, 1).contiguous()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training images are varied."""

    scale: tuple[float, float] = (0.5, 2.0)
    """Factor on preprocessing.size (or, where that is null, on the image's), drawn evenly."""
    crop: int | tuple[int, int] = 512
    """Side, or height and width, of what the network sees; smaller images are padded."""
    max_share: float = 0.75
    """A crop in which one class has more than this share of the labelled pixels is drawn again,
    up to ten times; 1 takes the first."""
    hflip: float = 0.5
    """Probability of a left-right flip."""
    photometric: float = 0.5
    """Probability of each change of brightness, contrast, saturation and hue; 0 is none."""
    brightness: float = 32.0
    """Most that is added to or taken from values in 0..255."""
    contrast: float = 0.5
    """Values are multiplied by 1 minus this to 1 plus this."""
    saturation: float = 0.5
    """Likewise the saturation of colours."""
    hue: float = 0.1
    """Most that hues are turned, as a share of the circle."""

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high:
            raise UserError(f"got scale {self.scale}, expected 0 < low <= high")
        height, width = self.crop_size
        if min(height, width) < 1:
            raise UserError(f"got crop {self.crop}, expected 1 pixel or more")
        for name in ("max_share", "hflip", "photometric", "contrast", "saturation"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"got {name} {getattr(self, name)}, expected 0 to 1")
        if self.brightness < 0 or not 0 <= self.hue <= 0.5:
            raise UserError(
                f"got brightness {self.brightness} and hue {self.hue}, expected 0 or more, and "
                "0 to 0.5"
            )

    @property
    def crop_size(self) -> tuple[int, int]:
        """Height and width of the crop."""
        if isinstance(self.crop, int):
            return self.crop, self.crop
        height, width = self.crop
        return int(height), int(width)


def fitted_size(
    size: tuple[int, int], limits: tuple[int, int] | None, factor: float = 1.0
) -> tuple[int, int]:
    """The (width, height) that an image is resized to.

    Args:
        size: its width and height.
        limits: most that the long and the short side may have; None is the image's own.
        factor: on the limits.

    Example:
        >>> fitted_size((640, 480), (2048, 512)), fitted_size((480, 100), (480, 512))
        ((683, 512), (480, 100))
    """
    width, height = size
    long, short = max(size), min(size)
    limit_long, limit_short = limits or (long, short)
    ratio = min(factor * limit_long / long, factor * limit_short / short)
    return max(1, int(width * ratio + 0.5)), max(1, int(height * ratio + 0.5))


class Views(NamedTuple):
    """A batch for evaluation: images at every scale, and labels at the files' size."""

    images: tuple[Tensor, ...]
    """(B, C, H, W) uint8 by scale; (C, H, W) before collating"""
    masks: Tensor
    """(B, H', W') uint8 labels; (H', W') before collating"""


class EvalTransform:
    """Images resized, as bytes; labels as they are in the file.

    Args:
        preprocessing: size and channels.
        scales: factors on the size, a view for each.
    """

    def __init__(self, preprocessing: Preprocessing, scales: Sequence[float] = (1.0,)):
        self.preprocessing = preprocessing
        self.scales = tuple(scales)

    def __call__(self, image: Image.Image, labels: np.ndarray) -> Views:
        return Views(self.views(image), torch.from_numpy(np.array(labels)))

    def views(self, image: Image.Image) -> tuple[Tensor, ...]:
        """The image at each scale, (C, H, W) uint8."""
        image = self.preprocessing.in_channels(image)
        result = []
        for scale in self.scales:
            size = fitted_size(image.size, self.preprocessing.size, scale)
            resized = image if size == image.size else image.resize(size, _BILINEAR)
            pixels_HWC = torch.from_numpy(np.array(resized))
            pixels_HWC = pixels_HWC[..., None] if pixels_HWC.ndim == 2 else pixels_HWC
            result.append(pixels_HWC.permute(2, 0, 1).contiguous())
        return tuple(result)


def collate_views(samples: Sequence[Views]) -> list[Views]:
    """One batch where all samples have the same sizes, else a batch of one for each."""
    shapes = {tuple(x.shape for x in (*sample.images, sample.masks)) for sample in samples}
    groups = [samples] if len(shapes) == 1 else [[sample] for sample in samples]
    return [
        Views(
            tuple(torch.stack(images) for images in zip(*(s.images for s in group), strict=True)),
            torch.stack([s.masks for s in group]),
        )
        for group in groups
    ]


class TrainTransform:
    """Scale, crop, flip and colours at random; then normalise and pad.

    Padding is 0 after normalisation, and not labelled.

    Source: SPANetV2's segmentation recipes (MMSegmentation's pipeline for ADE20K); Pillow's
    bilinear resizing averages where it shrinks.
    """

    def __init__(self, preprocessing: Preprocessing, augmentation: Augmentation):
        self.preprocessing = preprocessing
        self.augmentation = augmentation

    def __call__(self, image: Image.Image, labels: np.ndarray) -> Sample:
        a, p = self.augmentation, self.preprocessing
        image, mask = p.in_channels(image), Image.fromarray(labels)
        size = fitted_size(image.size, p.size, _uniform(*a.scale))
        if size != image.size:
            image, mask = image.resize(size, _BILINEAR), mask.resize(size, _NEAREST)
        labels = np.array(mask)
        top, left = _choose_crop(labels, a)
        height, width = a.crop_size
        labels = labels[top : top + height, left : left + width]
        rows, columns = labels.shape
        image = image.crop((left, top, left + columns, top + rows))
        if _uniform(0, 1) < a.hflip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            labels = labels[:, ::-1]
        if a.photometric:
            image = distort_colours(image, a)
        padded = torch.zeros(p.channels, height, width)
        padded[:, :rows, :columns] = p.to_tensor(image)
        target = torch.full((height, width), IGNORED, dtype=torch.uint8)
        target[:rows, :columns] = torch.from_numpy(np.ascontiguousarray(labels))
        return Sample(padded, target)


def _choose_crop(labels: np.ndarray, augmentation: Augmentation) -> tuple[int, int]:
    """Top and left of a crop in which no class has more than its share."""
    height, width = augmentation.crop_size
    top = left = 0
    for _ in range(_TRIES):
        top = _up_to(labels.shape[0] - height)
        left = _up_to(labels.shape[1] - width)
        if augmentation.max_share >= 1:
            break
        part = labels[top : top + height, left : left + width]
        counts = np.bincount(part.ravel(), minlength=256)[:IGNORED]
        if (counts > 0).sum() > 1 and counts.max() < augmentation.max_share * counts.sum():
            break
    return top, left


def distort_colours(image: Image.Image, augmentation: Augmentation) -> Image.Image:
    """Brightness, contrast (before or after the colours), saturation and hue, each perhaps."""
    a = augmentation

    def wanted() -> bool:
        return _uniform(0, 1) < a.photometric

    def linear(image: Image.Image, factor: float, shift: float) -> Image.Image:
        values = np.asarray(image, dtype=np.float32) * factor + shift
        return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))

    def contrast(image: Image.Image) -> Image.Image:
        return linear(image, 1 + _uniform(-a.contrast, a.contrast), 0)

    if wanted():
        image = linear(image, 1, _uniform(-a.brightness, a.brightness))
    first = _uniform(0, 1) < 0.5
    if first and wanted():
        image = contrast(image)
    saturate, turn = wanted(), wanted()
    if (saturate or turn) and image.mode == "RGB":
        image = _distort_hsv(
            image,
            saturation=1 + _uniform(-a.saturation, a.saturation) if saturate else 1.0,
            turn=_uniform(-a.hue, a.hue) if turn else 0.0,
        )
    if not first and wanted():
        image = contrast(image)
    return image


def _distort_hsv(image: Image.Image, *, saturation: float, turn: float) -> Image.Image:
    hsv = np.array(image.convert("HSV"))
    hsv[..., 0] += np.uint8(round(turn * 256) % 256)  # bytes wrap around, as hues do
    hsv[..., 1] = np.clip(hsv[..., 1] * np.float32(saturation), 0, 255).astype(np.uint8)
    return Image.fromarray(hsv, mode="HSV").convert("RGB")


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * torch.rand(()).item()


def _up_to(most: int) -> int:
    """A whole number from 0 to ``most``, which counts as 0 if it is negative."""
    return int(torch.randint(max(0, most) + 1, ()))
