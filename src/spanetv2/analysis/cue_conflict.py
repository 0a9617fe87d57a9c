"""Cue-conflict shape bias: does a classifier go by shape or by texture?

The test shows images with the shape of one class and the texture of another, such as a cat with the
skin of an elephant. Of the decisions that fit either cue, the share that fits the shape is the
shape bias. Images lie in one folder per shape class and are named after both, such as
``cat7-elephant1.png``: shape first, texture second; numbers tell the originals apart.

The images of Geirhos et al. 2019 (1280 of them, 16 classes) can be had from their repository,
rgeirhos/texture-vs-shape on GitHub, folder ``stimuli/style-transfer-preprocessed-512``.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spanetv2.analysis.arrays import NamedArray
from spanetv2.analysis.network import logits_of, measuring
from spanetv2.data.walk import files_below
from spanetv2.errors import UserError

__all__ = [
    "CATEGORIES",
    "IMAGENET_INDICES",
    "CueImage",
    "ShapeBias",
    "category_map",
    "decide",
    "find_cue_images",
    "shape_bias",
]

# ImageNet-1k indices of the classes that count as a category: kinds of it by WordNet, without those
# that the authors left out (such as ostriches, chihuahuas and dalmatians).
_RUNS = {
    "airplane": "404",
    "bear": "294-297",
    "bicycle": "444 671",
    "bird": "8 10-16 18-20 22-24 80-83 87-96 98-100 127-133 135-145",
    "boat": "472 554 625 814 914",
    "bottle": "440 720 737 898-899 901 907",
    "car": "436 511 817",
    "cat": "281-286",
    "chair": "423 559 765 857",
    "clock": "409 530 892",
    "dog": "152-191 193-203 205-226 228-241 243-250 252-257 259 261-263 265-268",
    "elephant": "385-386",
    "keyboard": "508 878",
    "knife": "499",
    "oven": "766",
    "truck": "555 569 656 675 717 734 864 867",
}


def _indices(runs: str) -> tuple[int, ...]:
    found: list[int] = []
    for run in runs.split():
        first, _, last = run.partition("-")
        found.extend(range(int(first), int(last or first) + 1))
    return tuple(found)


IMAGENET_INDICES = {name: _indices(runs) for name, runs in _RUNS.items()}
"""The ImageNet-1k classes of each category.

Source: Geirhos et al. 2019, the mapping of their published evaluation."""
CATEGORIES = tuple(IMAGENET_INDICES)
"""The 16 categories, in alphabetical order."""

_NAME = re.compile(r"([a-z_]+?)(\d+)-([a-z_]+?)(\d+)\.(png|jpe?g|webp|bmp)", re.IGNORECASE)


@dataclass(frozen=True)
class CueImage:
    """One image of the test."""

    path: str
    shape: str
    texture: str


@dataclass(frozen=True, kw_only=True)
class ShapeBias:
    """Result of the test."""

    bias: float | None
    """Shape decisions / (shape + texture decisions); None if neither occurred."""
    shape: int
    """Decisions for the shape's category."""
    texture: int
    """Decisions for the texture's category."""
    other: int
    """Decisions for neither."""
    same: int
    """Images left out because both cues are of one category."""
    per_category: NamedArray
    """Counts over ``category`` (of the shape) and ``decision`` (shape, texture, other)."""

    @property
    def images(self) -> int:
        """Images that count."""
        return self.shape + self.texture + self.other


def find_cue_images(
    folder: str | os.PathLike[str], categories: Sequence[str] = CATEGORIES
) -> list[CueImage]:
    """List the images of a cue-conflict folder.

    Args:
        folder: holds ``shape1-texture2.png`` files, in sub-folders named after the
            shape or in none.
        categories: known names.

    Returns:
        The images in order of their paths, those with one category twice included.

    Raises:
        UserError: no folder, no images, or a file name outside the pattern, of an unknown category,
            or in the folder of another shape.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"got cue-conflict folder {str(root)!r}, which is no folder")
    found = []
    for path in sorted(files_below(root, "")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise UserError(
                f"got {str(path.relative_to(root))!r} in {root}, expected names such as "
                "airplane1-bicycle2.png: shape, number, texture, number; remove other files"
            )
        shape, texture = match.group(1).lower(), match.group(3).lower()
        for name in (shape, texture):
            if name not in categories:
                raise UserError(
                    f"got category {name!r} in {path.name!r}, expected one of "
                    f"{', '.join(categories)}"
                )
        parent = path.parent.name
        if path.parent != root and parent in categories and parent != shape:
            raise UserError(
                f"got {path.name!r} in the folder {parent!r}, expected it under its shape {shape!r}"
            )
        found.append(CueImage(str(path), shape, texture))
    if not found:
        raise UserError(f"got cue-conflict folder {str(root)!r} without images")
    return found


def category_map(names: Sequence[str] | None, outputs: int) -> dict[str, tuple[int, ...]]:
    """Which outputs of a model mean which category.

    Args:
        names: the model's class names; None for ImageNet-1k in its usual order.
        outputs: number of outputs.

    Returns:
        Outputs per category: those whose names are the categories', or ImageNet's classes by
        Geirhos et al., found by index or by WordNet id.

    Raises:
        UserError: a model of other classes.

    Example:
        >>> category_map(None, 1000)["elephant"]
        (385, 386)
        >>> category_map(["dog", "cat"], 2)
        {'cat': (1,), 'dog': (0,)}
    """
    if names is None and outputs == 1000:
        return dict(IMAGENET_INDICES)
    names = list(names or [])
    if len(names) == outputs:
        own = {c: (names.index(c),) for c in CATEGORIES if c in names}
        if len(own) > 1:
            return own
        from timm.data.imagenet_info import ImageNetInfo

        ids = ImageNetInfo("imagenet-1k").label_names()
        place = {name: i for i, name in enumerate(names)}
        by_id = {
            category: tuple(place[ids[i]] for i in indices if ids[i] in place)
            for category, indices in IMAGENET_INDICES.items()
        }
        if all(by_id.values()):
            return by_id
    raise UserError(
        f"got a model of {outputs} classes, expected ImageNet's 1000 or classes named after the "
        f"categories ({', '.join(CATEGORIES)})"
    )


def decide(probabilities_BK: Tensor, outputs: dict[str, tuple[int, ...]]) -> list[str]:
    """The category of the highest mean probability over its classes, for each image.

    The mean over a category's classes, as in the published evaluation: a sum would favour the
    category of 109 dogs.

    Args:
        probabilities_BK: softmax of the logits.
        outputs: from ``category_map``.
    """
    scores = torch.stack([probabilities_BK[:, list(i)].mean(1) for i in outputs.values()], dim=1)
    names = list(outputs)
    return [names[i] for i in scores.argmax(1).tolist()]


def shape_bias(
    model: nn.Module,
    images: Sequence[CueImage],
    load: Callable[[str], Tensor],
    outputs: dict[str, tuple[int, ...]],
    *,
    batch_size: int = 32,
    advance: Callable[[int], Any] | None = None,
) -> ShapeBias:
    """Measure a classifier's shape bias.

    Args:
        model: the classifier; it is run in evaluation mode and left in its own.
        images: from ``find_cue_images``.
        load: from a path to a normalised image (C, H, W).
        outputs: from ``category_map``.
        batch_size: images per forward pass.
        advance: called with the number of images done.

    Returns:
        The result; images with the same category as shape and texture are left out and counted.

    Raises:
        UserError: no image whose cues differ, a category that the model does not have, or outputs
            that are not finite.

    Source: Geirhos et al. 2019.
    """
    wanted = [image for image in images if image.shape != image.texture]
    if not wanted:
        raise UserError(f"got {len(images)} images, none with different categories as cues")
    missing = {c for image in wanted for c in (image.shape, image.texture)} - set(outputs)
    if missing:
        raise UserError(
            f"got images of {', '.join(sorted(missing))}, which the model does not have"
        )
    names = sorted(outputs)
    counts = np.zeros((len(names), 3), dtype=np.int64)
    with torch.inference_mode(), measuring(model):
        for start in range(0, len(wanted), batch_size):
            part = wanted[start : start + batch_size]
            logits = logits_of(model, torch.stack([load(image.path) for image in part]))
            if not torch.isfinite(logits).all():
                raise UserError("the model's outputs are not finite; check the weights")
            for image, answer in zip(part, decide(logits.softmax(1), outputs), strict=True):
                kind = 0 if answer == image.shape else 1 if answer == image.texture else 2
                counts[names.index(image.shape), kind] += 1
            if advance is not None:
                advance(len(part))
    shape, texture, other = (int(n) for n in counts.sum(0))
    return ShapeBias(
        bias=shape / (shape + texture) if shape + texture else None,
        shape=shape,
        texture=texture,
        other=other,
        same=len(images) - len(wanted),
        per_category=NamedArray(
            counts,
            ("category", "decision"),
            {"category": names, "decision": ["shape", "texture", "other"]},
            "images",
        ),
    )
