"""Images with label maps: what a sample is, and reading one.

A label map is an image of one channel whose value at a pixel says the pixel's class. Shape
suffixes: C channels, H and W rows and columns.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from spanetv2.data.images import (
    ImageError,
    check_file,
    image_orientation,
    open_image,
    opening,
    read_image,
)
from spanetv2.kept import keep
from spanetv2.tasks.segmentation.data.encoding import (
    IGNORED,
    MaskEncoding,
    check_label_mode,
    label_lookup,
    mask_values,
)
from spanetv2.tasks.segmentation.data.orientation import (
    Orientation,
    shown_size,
    turn_labels,
    turn_of,
)

__all__ = [
    "IGNORED",
    "Pair",
    "PairSource",
    "Sample",
    "check_label_mode",
    "collate",
    "label_lookup",
    "read_label_map",
]

_LABEL_FORMATS = ("PNG", "TIFF", "BMP", "GIF")


class Pair(NamedTuple):
    """Files that belong together."""

    image: str
    mask: str


class Sample(NamedTuple):
    """An image as the network sees it in training, and what is in it."""

    image: Tensor
    """(C, H, W) float32, normalised"""
    mask: Tensor
    """(H, W) uint8 labels"""


Transform = Callable[[Image.Image, np.ndarray], Any]


class PairSource(Dataset[Any]):
    """Images with label maps, in files.

    ``source[i]`` is ``transform(image, labels)``, or the pair itself without a transform: a Pillow
    image (mode ``L`` or ``RGB``) and labels (H, W) uint8.

    Args:
        pairs: the files.
        classes: class names by label.
        palette: their colours.
        encoding: what the pixels of a mask file mean.
        name: how messages call the data set.
        orientation: how masks lie on images that EXIF data turn.
        remarks: what a user should know about how the files were found.
        transform: may be exchanged at any time.
        max_pixels: most pixels of an image or a mask; None is Pillow's limit.

    Attributes:
        white: value of white in grey images of more than 8 bits; None is 65535.
    """

    white: int | None = None

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        classes: list[str],
        palette: list[tuple[int, int, int]],
        encoding: MaskEncoding,
        name: str,
        orientation: Orientation = "auto",
        remarks: Sequence[str] = (),
        transform: Transform | None = None,
        max_pixels: int | None = None,
    ):
        assert len(classes) == len(palette)
        self.max_pixels = max_pixels
        self.pairs = list(pairs)
        keep(lambda: (path for pair in self.pairs for path in pair))
        self.classes = classes
        self.palette = palette
        self.encoding = encoding
        self.name = name
        self.orientation: Orientation = orientation
        self.undecided_stored = False
        """Masks that fit both ways on a turned image are as stored; see ``orientation.settle``."""
        self.remarks = list(remarks)
        self.transform = transform

    def images(self) -> list[str]:
        """Paths of all images."""
        return [pair.image for pair in self.pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def location(self, index: int) -> str:
        """Path of image ``index``."""
        return self.pairs[index].image

    def read(self, index: int) -> tuple[Image.Image, np.ndarray]:
        """Image ``index`` and its labels (H, W) uint8.

        Raises:
            ImageError: either cannot be read, or they do not belong together.
        """
        pair = self.pairs[index]
        image = read_image(pair.image, white=self.white, max_pixels=self.max_pixels)
        labels = self.read_labels(index)
        mask = (labels.shape[1], labels.shape[0])
        if mask != image.size or self.orientation == "stored" or self.undecided_stored:
            labels = self._turned(labels, pair, image.size)
        return image, labels

    def read_labels(self, index: int) -> np.ndarray:
        """The labels of image ``index`` as its file has them, (H, W) uint8.

        Raises:
            ImageError: the file cannot be read, or holds what means nothing.
        """
        path = self.pairs[index].mask
        return _read_label_file(
            path, lambda opened: self.encoding.labels(opened, path), self.max_pixels
        )

    def _turned(self, labels: np.ndarray, pair: Pair, shown: tuple[int, int]) -> np.ndarray:
        with (
            opening(pair.image, max_pixels=self.max_pixels),
            open_image(pair.image) as opened,
        ):
            orientation = image_orientation(opened)
        rows, columns = labels.shape
        turn = turn_of(
            orientation,
            shown=shown,
            mask=(columns, rows),
            rule=self.orientation,
            undecided_stored=self.undecided_stored,
        )
        if shown_size((columns, rows), turn) != shown:
            reason = sizes_differ(pair, shown=shown, mask=(columns, rows), orientation=orientation)
            raise ImageError(pair.mask, reason)
        return turn_labels(labels, turn)

    def __getitem__(self, index: int) -> Any:
        image, labels = self.read(index)
        return (image, labels) if self.transform is None else self.transform(image, labels)


def sizes_differ(
    pair: Pair, *, shown: tuple[int, int], mask: tuple[int, int], orientation: int
) -> str:
    """What to say of a mask that does not fit its image; sizes are widths and heights."""
    turned = "" if orientation == 1 else f" as shown (EXIF orientation {orientation})"
    return (
        f"{mask[0]} x {mask[1]} pixels, but its image {pair.image} has "
        f"{shown[0]} x {shown[1]}{turned}; make them the same size"
    )


def read_label_map(path: str | os.PathLike[str]) -> np.ndarray:
    """Read the values of a label file, whatever colours its palette shows them in.

    Args:
        path: a PNG (or TIFF, BMP) of one channel.

    Returns:
        (H, W) uint8.

    Raises:
        ImageError: unreadable, more than one channel, or values above 255.
    """
    name = os.fspath(path)

    def values(opened: Image.Image) -> np.ndarray:
        check_label_mode(opened.mode, name)
        return mask_values(opened, name)

    return _read_label_file(name, values)


def _read_label_file(
    name: str, decode: Callable[[Image.Image], np.ndarray], max_pixels: int | None = None
) -> np.ndarray:
    check_file(Path(name), name)
    with opening(name, max_pixels=max_pixels):
        try:
            opened = open_image(name, formats=_LABEL_FORMATS)
        except Image.UnidentifiedImageError:
            known = ", ".join(_LABEL_FORMATS)
            raise ImageError(name, f"not a label image in a known format ({known})") from None
        with opened:
            return decode(opened)


def collate(samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Training samples as a batch: images (B, C, H, W) and labels (B, H, W)."""
    return torch.stack([s.image for s in samples]), torch.stack([s.mask for s in samples])
