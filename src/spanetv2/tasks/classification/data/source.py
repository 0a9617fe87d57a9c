"""What every source of labelled images has in common."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

from spanetv2.data.preprocessing import Transform

__all__ = ["ImageSource", "StreamSource"]


class ImageSource(Dataset[tuple[Any, int]]):
    """Labelled images that can be read in any order.

    ``source[i]`` is ``(transform(image), label)``, with the Pillow image (mode ``L`` or ``RGB``)
    itself where there is no transform.

    Attributes:
        classes: class names in index order.
        labels: (N,) int64, or None where they are only known on reading.
        transform: may be exchanged at any time.
        split_note: what a reader of figures should know about these images, such as "its test
            images" where a data set has no validation split of its own; mostly empty.
    """

    split_note: str = ""
    remarks: Sequence[str] = ()
    """what a user should know about how the files were found"""

    def __init__(
        self, *, classes: list[str], labels: np.ndarray | None, transform: Transform | None
    ):
        self.classes = classes
        self.labels = labels
        self.transform = transform

    def __len__(self) -> int:
        assert self.labels is not None
        return len(self.labels)

    def read(self, index: int) -> Image.Image:
        """Read image ``index`` as an upright 8-bit ``L`` or ``RGB`` image.

        Raises:
            ImageError: it cannot be read.
        """
        raise NotImplementedError

    def location(self, index: int) -> str:
        """The path of image ``index``, or another name by which a person can find it."""
        raise NotImplementedError

    def key(self, index: int) -> str:
        """A name of image ``index`` that is the same wherever the data set lies."""
        return str(index)

    def sample(self, index: int) -> tuple[Image.Image, int]:
        """Image ``index`` before the transform, and its label."""
        assert self.labels is not None
        return self.read(index), int(self.labels[index])

    def __getitem__(self, index: int) -> tuple[Any, int]:
        image, label = self.sample(index)
        return (self.transform(image) if self.transform is not None else image), label


class StreamSource(IterableDataset[tuple[Any, int]]):
    """Labelled images that come in one order only (WebDataset shards, streamed data sets).

    The order depends on the seed, the epoch, and the number of processes and workers; a run on a
    stream cannot be resumed exactly in the middle of an epoch.

    Attributes:
        classes: class names in index order.
        transform: may be exchanged before a loader is built.
        split_note: as of ``ImageSource``.
    """

    split_note: str = ""

    def __init__(self, *, classes: list[str], transform: Transform | None):
        self.classes = classes
        self.transform = transform

    def set_epoch(self, epoch: int) -> None:
        """Reshuffle for this epoch; seen by running workers too."""
        raise NotImplementedError

    def set_workers(self, workers: int) -> None:
        """Tell how many loader workers will share the stream (before the loader is built)."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        raise NotImplementedError
