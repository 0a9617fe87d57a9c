"""From a Pillow image to a network's input, as a checkpoint records it.

The work is timm's (``timm.data.create_transform``); here are typed settings for it and two guards:
images are brought to the network's number of channels, and extremely long ones are cut before a
resize could turn a few kilobytes into gigabytes.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn
from torchvision import transforms as tv

from spanetv2.data.images import WHITES
from spanetv2.errors import UserError

__all__ = [
    "INTERPOLATIONS",
    "MOST_SIDE",
    "LimitAspect",
    "Preprocessing",
    "ToChannels",
    "ToNormalizedTensor",
    "Transform",
    "check_white",
    "eval_transform",
    "normalizing_last",
    "one_of",
    "without_unset",
]

Transform = Callable[[Image.Image], Any]
"""From a Pillow image (mode ``L`` or ``RGB``) to anything."""

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "box", "hamming", "lanczos")
MOST_SIDE = 16_384
"""Most pixels a side that a network's input is made with, whatever a file says."""

_MODES = {1: "L", 3: "RGB"}
_LONGEST = 32  # sides of more than 32 to 1 are cut to their middle


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How an image becomes the network's input in evaluation.

    The field names are timm's but for ``white``, so
    ``timm.data.create_transform(**preprocessing.of_timm())`` gives the same transform. Channel
    statistics of 3 values are averaged for a network with 1 channel, one value is repeated for a
    network with 3.
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
    white: int | None = None
    """Value of white in grey images of more than 8 bits; null is 65535, in training the smallest
    of 255, 1023, 4095, 16383 and 65535 that holds the training images."""

    def __post_init__(self) -> None:
        size = tuple(int(value) for value in self.input_size)
        if len(size) != 3 or min(size) < 1:
            raise UserError(f"got input_size {self.input_size}, expected (channels, height, width)")
        if max(size) > MOST_SIDE:
            raise UserError(
                f"got input_size {self.input_size}, expected at most {MOST_SIDE} a side"
            )
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
            elif size[0] == 3 and len(values) == 1:
                values *= 3
            if len(values) != size[0]:
                raise UserError(f"got {len(values)} values of {name} for {size[0]} channels")
            object.__setattr__(self, name, values)
        if min(self.std) <= 0:
            raise UserError(f"got std {self.std}, expected values above 0")
        one_of("interpolation", self.interpolation, INTERPOLATIONS)
        one_of("crop_mode", self.crop_mode, ("center", "squash", "border"))
        if not 0 < self.crop_pct <= 1:
            raise UserError(f"got crop_pct {self.crop_pct}, expected a value in (0, 1]")
        check_white(self.white)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, as stored beside the weights."""
        return without_unset(dataclasses.asdict(self))

    def of_timm(self) -> dict[str, Any]:
        """The fields that timm has, too."""
        return {name: value for name, value in self.to_dict().items() if name != "white"}

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
    def of_model(cls, model: nn.Module, *, size: tuple[int, int] | None = None) -> "Preprocessing":
        """What timm records of a model (``pretrained_cfg``) about its input.

        Args:
            model: as timm makes them.
            size: height and width in pixels, in place of those that timm records.
        """
        from timm.data.config import resolve_model_data_config

        known = {field.name for field in dataclasses.fields(cls)}
        config = resolve_model_data_config(model)
        channels = getattr(model, "in_chans", None) or config["input_size"][0]
        input_size = (channels, *(size or config["input_size"][1:]))
        return cls(**{**{k: v for k, v in config.items() if k in known}, "input_size": input_size})


def eval_transform(preprocessing: Preprocessing) -> Transform:
    """The evaluation transform: Pillow image -> float32 tensor (C, H, W), normalised."""
    guards = [ToChannels(preprocessing.input_size[0]), LimitAspect()]
    if preprocessing.crop_mode == "squash":
        guards.pop()
    timm_transform = create_transform(**preprocessing.of_timm(), is_training=False)
    assert isinstance(timm_transform, tv.Compose)
    return tv.Compose([*guards, *normalizing_last(timm_transform.transforms, preprocessing)])


def normalizing_last(steps: Sequence[Any], preprocessing: Preprocessing) -> list[Any]:
    """timm's steps with one faster step in place of ToTensor and Normalize."""
    at = next(i for i, step in enumerate(steps) if isinstance(step, tv.ToTensor))
    assert isinstance(steps[at + 1], tv.Normalize)
    ours = ToNormalizedTensor(preprocessing.mean, preprocessing.std)
    return [*steps[:at], ours, *steps[at + 2 :]]


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


def without_unset(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain JSON values of a preprocessing.

    A white that is not said is left out, as in files from before there was one, which means 65535.
    """
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
    return {k: v for k, v in plain.items() if k != "white" or v is not None}


def check_white(value: int | None) -> None:
    """Refuse a white that no grey image of up to 16 bits has.

    Raises:
        UserError: naming the value.
    """
    if value is not None and not 1 <= value <= WHITES[-1]:
        raise UserError(f"got white {value}, expected 1 to {WHITES[-1]}")


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a word that is not among those allowed.

    Raises:
        UserError: naming them.
    """
    if value not in allowed:
        raise UserError(f"got {name} {value!r}, expected one of {', '.join(allowed)}")
