"""What scenes are made of: scikit-learn's handwritten digits and its two photographs.

Training and validation share neither a digit nor a pixel: the digits are divided as in the
classification of them, and each photograph is cut by a vertical line.
"""

import functools
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

__all__ = ["CLASSES", "PHOTOGRAPHS", "Material", "Split", "columns", "material"]

Split = Literal["train", "val"]

CLASSES = ("background", *(str(digit) for digit in range(10)))
"""Names of the classes of a scene's pixels, in index order."""

PHOTOGRAPHS = ("china.jpg", "flower.jpg")
"""scikit-learn's names of the photographs, each 640 x 427 pixels."""

# Pixels per row that each split takes. Photographs are JPEG files, whose decoder mixes the colours
# of neighbouring blocks; so 16 columns between the two are used by neither.
_COLUMNS: dict[Split, tuple[int, int]] = {"train": (0, 424), "val": (440, 640)}


class Material(NamedTuple):
    """What the scenes of one split are made of."""

    photographs: tuple[Image.Image, ...]
    """RGB images, of which backgrounds are cut."""
    digits: np.ndarray
    """(N, 8, 8) uint8, ink from 0 to 255."""
    labels: np.ndarray
    """(N,) int64, the digits 0 to 9."""
    indices: np.ndarray
    """(N,) int64, their places among scikit-learn's digits."""


def columns(split: Split) -> tuple[int, int]:
    """First and one past the last column of the photographs that a split may use."""
    return _COLUMNS[split]


@functools.cache
def material(split: Split) -> Material:
    """Load the photographs' part and the digits of a split.

    Args:
        split: train (1,437 digits) or val (360), as in the classification of the digits.

    Example:
        >>> train, val = material("train"), material("val")
        >>> len(train.labels), len(val.labels), [p.size for p in val.photographs]
        (1437, 360, [(200, 427), (200, 427)])
    """
    from sklearn.datasets import load_digits, load_sample_image
    from sklearn.model_selection import train_test_split

    left, right = columns(split)
    photographs = tuple(
        Image.fromarray(np.ascontiguousarray(load_sample_image(name)[:, left:right]))
        for name in PHOTOGRAPHS
    )
    images, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    parts = train_test_split(np.arange(len(labels)), test_size=0.2, random_state=0, stratify=labels)
    chosen = np.sort(parts[0] if split == "train" else parts[1])
    ink = np.rint(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return Material(photographs, ink[chosen], labels[chosen].astype(np.int64), chosen)
