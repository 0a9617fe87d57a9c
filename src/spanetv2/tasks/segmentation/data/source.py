"""Images with label maps: what a sample is, and reading one.

A label map is an image of one channel whose value at a pixel says the pixel's class. Shape
suffixes: C channels, H and W rows and columns.
"""

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from spanetv2.data.images import ImageError, read_image

__all__ = ["IGNORED", "Pair", "PairSource", "Sample", "collate", "label_lookup", "read_label_map"]

IGNORED = 255
"""The label of pixels that nobody labelled: no loss, no figure counts them."""

_LABEL_FORMATS = ("PNG", "TIFF", "BMP")
_ONE_CHANNEL = ("1", "L", "P")


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
        lookup: what each value of a file means; see ``label_lookup``.
        name: how messages call the data set.
        transform: may be exchanged at any time.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        *,
        classes: list[str],
        palette: list[tuple[int, int, int]],
        lookup: np.ndarray,
        name: str,
        transform: Transform | None = None,
    ):
        assert len(classes) == len(palette)
        self.pairs = list(pairs)
        self.classes = classes
        self.palette = palette
        self.lookup = lookup
        self.name = name
        self.transform = transform

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
        image = read_image(pair.image)
        values = read_label_map(pair.mask)
        if image.size != values.shape[::-1]:
            rows, columns = values.shape
            raise ImageError(
                pair.mask,
                f"{columns} x {rows} pixels, but its image {pair.image} has "
                f"{image.width} x {image.height}; make them the same size",
            )
        labels = self.lookup[values]
        if (labels < 0).any():
            raise ImageError(pair.mask, self._unknown(values, labels))
        return image, labels.astype(np.uint8)

    def _unknown(self, values: np.ndarray, labels: np.ndarray) -> str:
        row, column = np.argwhere(labels < 0)[0]
        meant = np.flatnonzero(self.lookup >= 0)
        known = [int(v) for v in meant if self.lookup[v] != IGNORED]
        ignored = [str(v) for v in meant if self.lookup[v] == IGNORED]
        return (
            f"value {values[row, column]} at row {row}, column {column} "
            f"({int((labels < 0).sum())} such pixels in all), expected {known[0]} to {known[-1]} "
            f"for the {len(self.classes)} classes, or {' or '.join(ignored)} for not labelled"
        )

    def __getitem__(self, index: int) -> Any:
        image, labels = self.read(index)
        return (image, labels) if self.transform is None else self.transform(image, labels)


def label_lookup(num_classes: int, *, first: int) -> np.ndarray:
    """What the values 0 .. 255 of a label file mean.

    Args:
        num_classes: classes K; a file's values ``first`` .. ``first + K - 1`` are they.
        first: 0 for plain label files; 1 for ADE20K's, whose 0 means: not labelled.

    Returns:
        (256,) int16: the label, 255 for not labelled, -1 for values that mean nothing.

    Example:
        >>> label_lookup(2, first=1)[[0, 1, 2, 3, 255]].tolist()
        [255, 0, 1, -1, 255]
    """
    table = np.full(256, -1, dtype=np.int16)
    table[IGNORED] = IGNORED
    if first:
        table[:first] = IGNORED
    table[first : first + num_classes] = np.arange(num_classes)
    return table


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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_LABEL_FORMATS) as opened:
                check_label_mode(opened.mode, name)
                values = np.asarray(opened)
    except ImageError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError(name, f"refused as a possible decompression bomb ({error})") from None
    except Image.UnidentifiedImageError:
        known = ", ".join(_LABEL_FORMATS)
        raise ImageError(name, f"not a label image in a known format ({known})") from None
    except OSError as error:
        reason = (error.strerror or f"damaged or truncated ({error})").lower()
        raise ImageError(name, reason) from None
    except Exception as error:  # damaged files make decoders raise nearly anything
        detail = " ".join(str(error).split()) or type(error).__name__
        raise ImageError(name, f"damaged or truncated image ({detail})") from None
    if values.dtype == np.uint8:
        return values
    if values.dtype != np.bool_ and (values.min() < 0 or values.max() > 255):
        raise ImageError(name, f"values up to {values.max()}, expected labels from 0 to 255")
    return values.astype(np.uint8)


def check_label_mode(mode: str, name: str) -> None:
    """Refuse an image of more than one channel.

    Raises:
        ImageError: naming the file.
    """
    if mode in _ONE_CHANNEL or mode.startswith("I"):
        return
    channels = len(Image.new(mode, (1, 1)).getbands())
    raise ImageError(
        name,
        f"a picture of {channels} channels ({mode}), expected labels: one channel (a grey or "
        "palette PNG) whose values are class numbers",
    )


def collate(samples: Sequence[Sample]) -> tuple[Tensor, Tensor]:
    """Training samples as a batch: images (B, C, H, W) and labels (B, H, W)."""
    return torch.stack([s.image for s in samples]), torch.stack([s.mask for s in samples])
