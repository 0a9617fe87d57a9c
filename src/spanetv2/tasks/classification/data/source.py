"""What every source of labelled images has in common."""

import abc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from spanetv2.data.images import read_image
from spanetv2.data.preprocessing import Transform
from spanetv2.tasks.classification.data.names import PackedNames

__all__ = ["FileSource", "ImageSource", "Label"]

Label = int | np.ndarray
"""The class of an image, or (K,) float32 of 0 and 1 where images have several."""


class ImageSource(Dataset[tuple[Any, Label]], abc.ABC):
    """Labelled images that can be read in any order.

    ``source[i]`` is ``(transform(image), label)``, with the Pillow image (mode ``L`` or ``RGB``)
    itself where there is no transform.

    Attributes:
        classes: class names in index order.
        labels: (N,) int64; (N, K) uint8 of 0 and 1 where images have several labels; None where
            they are only known on reading.
        transform: may be exchanged at any time.
        split_note: what a reader of figures should know about these images, such as "its test
            images" where a data set has no validation split of its own; mostly empty.
        white: value of white in grey images of more than 8 bits; None is 65535.
        max_pixels: most pixels of an image; None is Pillow's limit.
    """

    split_note: str = ""
    remarks: Sequence[str] = ()
    """what a user should know about how the files were found"""
    white: int | None = None
    max_pixels: int | None = None

    def __init__(
        self, *, classes: list[str], labels: np.ndarray | None, transform: Transform | None
    ):
        self.classes = classes
        self.labels = labels
        self.transform = transform

    def __len__(self) -> int:
        assert self.labels is not None
        return len(self.labels)

    @property
    def multi_label(self) -> bool:
        """Whether images have several labels, or none."""
        return self.labels is not None and self.labels.ndim == 2

    def images_per_class(self) -> np.ndarray | None:
        """(K,) numbers of images; None where labels are only known on reading."""
        if self.labels is None:
            return None
        if self.multi_label:
            return self.labels.sum(axis=0, dtype=np.int64)
        return np.bincount(self.labels, minlength=len(self.classes))

    def take_white(self, white: int | None) -> None:
        """Take this for white in grey images of more than 8 bits from here on."""
        self.white = white

    def files(self) -> list[str]:
        """Paths of the images, where each is a file of its own; otherwise none."""
        return []

    def decode(
        self, file: str | os.PathLike[str] | IO[bytes], *, name: str | None = None
    ) -> Image.Image:
        """Read one image file as ``read_image`` does, with this source's white and limit."""
        return read_image(file, name=name, white=self.white, max_pixels=self.max_pixels)

    @abc.abstractmethod
    def read(self, index: int) -> Image.Image:
        """Read image ``index`` as an upright 8-bit ``L`` or ``RGB`` image.

        Raises:
            ImageError: it cannot be read.
        """

    @abc.abstractmethod
    def location(self, index: int) -> str:
        """The path of image ``index``, or another name by which a person can find it."""

    def key(self, index: int) -> str:
        """A name of image ``index`` that is the same wherever the data set lies."""
        return str(index)

    def sample(self, index: int) -> tuple[Image.Image, Label]:
        """Image ``index`` before the transform, and its label."""
        assert self.labels is not None
        own = self.labels[index]
        return self.read(index), own.astype(np.float32) if self.multi_label else int(own)

    def __getitem__(self, index: int) -> tuple[Any, Label]:
        image, label = self.sample(index)
        return (self.transform(image) if self.transform is not None else image), label


class FileSource(ImageSource):
    """Images that are files below a folder.

    Args:
        root: the folder.
        names: their paths within it.
        classes: class names in index order.
        labels: as of ``ImageSource``.
        transform: applied to every Pillow image.
    """

    def __init__(
        self,
        root: Path,
        names: PackedNames,
        *,
        classes: list[str],
        labels: np.ndarray,
        transform: Transform | None,
    ):
        super().__init__(classes=classes, labels=labels, transform=transform)
        self.root = root
        self._names = names.freeze()

    def files(self) -> list[str]:
        return [self.location(index) for index in range(len(self))]

    def read(self, index: int) -> Image.Image:
        return self.decode(self.location(index))

    def location(self, index: int) -> str:
        return str(self.root / self._names[index])

    def key(self, index: int) -> str:
        return self._names[index]
