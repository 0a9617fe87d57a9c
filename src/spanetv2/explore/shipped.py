"""Images that the page offers where the network has none of its own."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from spanetv2.explore.subject import Sample

__all__ = ["choose_samples", "fashion_samples", "photographs", "reduced"]

_SHEET = Path(__file__).parent / "samples" / "fashion_mnist.png"
_LONGEST = 512
"""Sides of samples in pixels: larger ones would make a large page of pictures."""
_MOST = 12


def fashion_samples(classes: Sequence[str]) -> list[Sample]:
    """One test image of each of Fashion-MNIST's ten classes, named by them."""
    with Image.open(_SHEET) as sheet:
        side = sheet.height
        return [
            Sample(name=name, image=sheet.crop((side * i, 0, side * i + side, side)), label=name)
            for i, name in enumerate(classes)
        ]


def photographs() -> list[Sample]:
    """scikit-learn's two photographs."""
    from sklearn.datasets import load_sample_image

    return [
        Sample(name=name, image=Image.fromarray(np.asarray(load_sample_image(f"{name}.jpg"))))
        for name in ("china", "flower")
    ]


def reduced(image: Image.Image) -> Image.Image:
    """The image with no side longer than 512 pixels, as the page keeps it."""
    if max(image.size) <= _LONGEST:
        return image
    scale = _LONGEST / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)


def choose_samples(samples: Sequence[Sample]) -> list[Sample]:
    """The samples of a page: the networks' own, each name once, then the photographs."""
    kept: dict[str, Sample] = {}
    for sample in [*samples[:_MOST], *photographs()]:
        name = sample.name
        while name in kept:
            name += "'"
        kept[name] = Sample(name=name, image=reduced(sample.image), label=sample.label)
    return list(kept.values())
