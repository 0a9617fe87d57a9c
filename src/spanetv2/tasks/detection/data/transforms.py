"""Augmentation of images with boxes and masks.

Everything random is drawn from PyTorch's global generator, which ``SeededDataset`` sets for each
item. Images are uint8 (3, H, W), targets as in ``coco.Target``.
"""

import dataclasses
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.coco import Sample, Target, usable

__all__ = ["Augmentation", "TrainTransform", "crop", "flip", "resize", "scaled_size"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How training images are varied; lengths in pixels. The defaults are the published ones."""

    hflip: float = 0.5
    """Probability of a left-right flip."""
    short_sides: tuple[int, ...] = tuple(range(480, 801, 32))
    """Lengths of the shorter side after resizing, one drawn per image."""
    long_side: int = 1333
    """Most of the longer side; where it binds, the shorter one becomes shorter."""
    crop: float = 0.5
    """Probability that a piece is cut out before that."""
    crop_short_sides: tuple[int, ...] = (400, 500, 600)
    """Lengths of the shorter side from which the piece is cut, one drawn per image."""
    crop_sides: tuple[int, int] = (384, 600)
    """Least and greatest side of the piece, drawn for height and width; at most the image's."""

    def __post_init__(self) -> None:
        for name in ("hflip", "crop"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"got {name} {getattr(self, name)}, expected a probability")
        for name in ("short_sides", "crop_short_sides"):
            sides = tuple(getattr(self, name))
            if not sides or min(sides) < 1:
                raise UserError(f"got {name} {sides}, expected lengths of at least 1 pixel")
            object.__setattr__(self, name, sides)
        if self.long_side < max(self.short_sides):
            raise UserError(
                f"got long_side {self.long_side} below short_sides up to {max(self.short_sides)}"
            )
        low, high = self.crop_sides
        object.__setattr__(self, "crop_sides", (low, high))
        if not 1 <= low <= high:
            raise UserError(f"got crop_sides {(low, high)}, expected 1 <= least <= greatest")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as recorded beside the weights."""
        plain = dataclasses.asdict(self)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}


class TrainTransform:
    """Flip; then, with some probability, resize and cut out a piece; then resize.

    A piece may hold no object.

    Args:
        augmentation: how much of each.
    """

    def __init__(self, augmentation: Augmentation):
        self.augmentation = augmentation

    def __call__(self, image_CHW: Tensor, target: Target) -> Sample:
        a = self.augmentation
        if _chance(a.hflip):
            image_CHW, target = flip(image_CHW, target)
        if _chance(a.crop):
            size = scaled_size(image_CHW, _one_of(a.crop_short_sides), a.long_side)
            image_CHW, target = resize(image_CHW, target, size)
            image_CHW, target = crop(image_CHW, target, self._piece(image_CHW))
        size = scaled_size(image_CHW, _one_of(a.short_sides), a.long_side)
        image_CHW, target = resize(image_CHW, target, size)
        return image_CHW, usable(target, _size(image_CHW))

    def _piece(self, image_CHW: Tensor) -> tuple[int, int, int, int]:
        low, high = self.augmentation.crop_sides
        height, width = (_between(min(s, low), min(s, high)) for s in image_CHW.shape[-2:])
        top = _between(0, image_CHW.shape[-2] - height)
        left = _between(0, image_CHW.shape[-1] - width)
        return top, left, height, width


def scaled_size(image_CHW: Tensor, short_side: int, long_side: int) -> tuple[int, int]:
    """Height and width of an image scaled to a shorter side, or less if the longer one says so.

    Example:
        >>> scaled_size(torch.empty(3, 480, 640), 800, 1333)
        (800, 1067)
        >>> scaled_size(torch.empty(3, 200, 1000), 800, 1333)
        (267, 1333)
    """
    height, width = image_CHW.shape[-2:]
    scale = min(short_side / min(height, width), long_side / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def resize(image_CHW: Tensor, target: Target, size: tuple[int, int]) -> Sample:
    """Resize an image (bilinear, antialiased), its boxes and its masks (nearest) to a size."""
    height, width = image_CHW.shape[-2:]
    if (height, width) == size:
        return image_CHW, target
    image_CHW = tv.resize(image_CHW, list(size), antialias=True)
    target = dict(target)
    if "masks" in target:
        masks = target["masks"]
        if len(masks):
            masks = tv.resize(masks, list(size), interpolation=InterpolationMode.NEAREST_EXACT)
        else:
            masks = masks.new_zeros((0, *size))
        target["masks"] = masks
    scale_y, scale_x = size[0] / height, size[1] / width
    boxes = target["boxes"] * target["boxes"].new_tensor([scale_x, scale_y, scale_x, scale_y])
    area = target["area"] * (scale_x * scale_y)
    return image_CHW, {**target, "boxes": boxes, "area": area}


def flip(image_CHW: Tensor, target: Target) -> Sample:
    """Mirror left and right."""
    left, top, right, bottom = target["boxes"].unbind(1)
    width = image_CHW.shape[-1]
    boxes = torch.stack([width - right, top, width - left, bottom], dim=1)
    masks = {"masks": target["masks"].flip(-1)} if "masks" in target else {}
    return image_CHW.flip(-1), {**target, "boxes": boxes, **masks}


def crop(image_CHW: Tensor, target: Target, piece: tuple[int, int, int, int]) -> Sample:
    """Cut out a piece: top, left, height and width in pixels. Objects outside it are left out."""
    top, left, height, width = piece
    image_CHW = image_CHW[..., top : top + height, left : left + width]
    moved = dict(target)
    if "masks" in target:
        moved["masks"] = target["masks"][..., top : top + height, left : left + width]
    moved["boxes"] = target["boxes"] - target["boxes"].new_tensor([left, top, left, top])
    return image_CHW, usable(moved, _size(image_CHW))


def _size(image_CHW: Tensor) -> tuple[int, int]:
    return int(image_CHW.shape[-2]), int(image_CHW.shape[-1])


def _chance(probability: float) -> bool:
    return torch.rand(()).item() < probability


def _one_of(values: tuple[int, ...]) -> int:
    return values[_between(0, len(values) - 1)]


def _between(low: int, high: int) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, ()))
