"""Labelled images that come in one order only, and can all the same be gone through from anywhere.

The place in a stream is a number of samples in each of its lanes. A lane is what one loading
process of one training process reads; what it gives is a function of the seed, the epoch, the lane
and the number of lanes, and so is how its images are varied.
"""

import abc
import itertools
import logging
import multiprocessing
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image
from torch.utils.data import IterableDataset, get_worker_info

from spanetv2.data.images import ImageError
from spanetv2.data.preprocessing import Transform
from spanetv2.data.seeded import item_seed, seeded
from spanetv2.errors import UserError

__all__ = ["StreamSource", "label_index"]


class StreamSource(IterableDataset[tuple[Any, int]], abc.ABC):
    """Labelled images that come in one order only (WebDataset shards, streamed data sets).

    Args:
        name: how messages call the data set.
        classes: class names in the wanted index order.
        table: label of the data -> index of its class.
        images: number of samples, None if unknown.
        training: reshuffled every epoch, and every lane gives the same number of samples.
        seed: order and augmentation are functions of it, the epoch and the place.
        transform: applied to every Pillow image; may be exchanged before a loader is built.
        on_error: raise on a damaged sample, or skip it, counted in ``skipped``.

    Attributes:
        lanes: how many loading processes share the stream, over all training processes.
        split_note, white, max_pixels: as of ``ImageSource``.
    """

    split_note: str = ""
    white: int | None = None
    max_pixels: int | None = None

    def __init__(
        self,
        *,
        name: str,
        classes: Sequence[str],
        table: Sequence[int],
        images: int | None,
        training: bool = False,
        seed: int = 0,
        transform: Transform | None = None,
        on_error: Literal["raise", "skip"] = "raise",
    ):
        self.name = name
        self.classes = list(classes)
        self.images = images
        self.training = training
        self.seed = seed
        self.transform = transform
        self.on_error = on_error
        self._table = table
        self._epoch = multiprocessing.Value("q", 0)
        self._skipped = multiprocessing.Value("q", 0)
        self._begin = (0, 0)
        self._batch_size = self._workers = self._world = 1
        self._rank = 0

    # of a kind of stream -------------------------------------------------------------------------

    @abc.abstractmethod
    def items(self, epoch: int, lane: int) -> Iterator[tuple[Any, Any]]:
        """What a lane reads in an epoch, in order: what ``decode`` takes, and the data's label.

        In training it goes on for ever, or at least for ``lane_length`` samples.

        Raises:
            ImageError: it cannot go on.
        """

    @abc.abstractmethod
    def decode(self, item: Any) -> Image.Image:
        """An upright 8-bit ``L`` or ``RGB`` image.

        Raises:
            ImageError: it is damaged; its path is that of the sample.
        """

    def where(self, item: Any, label: Any) -> str:
        """How messages call a sample."""
        return f"{self.name} (label {label})"

    def content(self) -> list[str]:
        """Names of what is read, the same wherever it lies: other ones are other data."""
        return [self.name]

    # for all -------------------------------------------------------------------------------------

    @property
    def lanes(self) -> int:
        return self._world * self._workers

    @property
    def lane_length(self) -> int:
        """Samples that a lane gives in an epoch of training: whole batches."""
        assert self.images
        return -(-self.images // (self.lanes * self._batch_size)) * self._batch_size

    @property
    def skipped(self) -> int:
        """Damaged samples left out so far, over all workers of this process."""
        return self._skipped.value

    def take_white(self, white: int | None) -> None:
        """Take this for white in grey images of more than 8 bits from here on."""
        self.white = white

    def share(self, *, batch_size: int = 1, rank: int = 0, world: int = 1, workers: int = 0) -> int:
        """Say who shares the stream, before the loader is built.

        Args:
            batch_size: samples per batch of this process.
            rank: this process.
            world: number of processes.
            workers: loading processes of each; 0 reads in this one.

        Returns:
            Lanes of this process.
        """
        self._batch_size, self._rank, self._world = batch_size, rank, world
        self._workers = max(1, workers)
        return self._workers

    def begin(self, epoch: int, samples: int = 0) -> None:
        """Say where the next pass begins.

        Args:
            epoch: 0-based; seen by running workers too.
            samples: number of samples of each lane that are passed over, in this epoch alone.
        """
        self._epoch.value = epoch
        self._begin = (epoch, samples)

    def __len__(self) -> int:
        """Samples of a pass of this process.

        Raises:
            TypeError: it is not known.
        """
        if self.training:
            return self.lane_length * self._workers
        if not self.images or self.lanes > 1:  # how it is divided depends on what is in it
            raise TypeError(f"{self.name} does not tell its number of samples")
        return self.images

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        epoch, worker = self._epoch.value, get_worker_info()
        lane = self._rank * self._workers + (0 if worker is None else worker.id)
        first = self._begin[1] if self._begin[0] == epoch else 0
        last = self.lane_length if self.training else None
        items = itertools.islice(self.items(epoch, lane), first, last)
        for place, (item, label) in enumerate(items, first):
            try:
                image = self.decode(item)
            except ImageError as error:
                self.report(error.path or self.where(item, label), error.reason)
                continue
            index = label_index(label, self._table, self.where(item, label))
            if self.transform is None:
                yield image, index
                continue
            with seeded(item_seed(self.seed, epoch, lane, place)):
                made = self.transform(image)
            yield made, index

    def report(self, where: str, reason: str) -> None:
        """Count a damaged sample and log it, or raise.

        Raises:
            ImageError: unless errors are skipped.
        """
        if self.on_error == "raise":
            raise ImageError(where, reason)
        with self._skipped.get_lock():
            self._skipped.value += 1
        logging.getLogger(__name__).warning("skipped %s: %s", where, reason)


def label_index(label: Any, table: Sequence[int] | np.ndarray, where: str) -> int:
    """The index of a class from the data's label.

    Args:
        label: a whole number.
        table: label of the data -> index of its class.
        where: how messages call the sample.

    Raises:
        UserError: a label that is not in the table.
    """
    index = int(label)
    if not 0 <= index < len(table):
        raise UserError(f"got label {index} at {where}, expected 0 to {len(table) - 1}")
    return int(table[index])
