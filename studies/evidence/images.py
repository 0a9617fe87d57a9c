"""Images that lie on the device as two tensors, and what is drawn of them for a batch.

Shape suffixes: N images, S seeds, B images of a batch, C channels, H and W in pixels.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.arrays import ArraySource, digits, fashion_mnist

__all__ = ["DATA", "Batches", "Images", "load"]

DATA = ("digits", "fashion_mnist")
_SPLIT_SEED = 2025  # of the held-out tenth, one for all runs


@dataclass(frozen=True, kw_only=True, eq=False)
class Images:
    """Images for training and for a test, on one device.

    Args:
        train_images: normalised images to learn from, (N, C, H, W).
        train_labels: their classes, (N,).
        test_images: normalised images to be judged by, (N, C, H, W).
        test_labels: their classes, (N,).
        std: what pixel values 0..1 were divided by.
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    std: float

    def to(self, device: str) -> Self:
        """The same on another device."""
        return replace(
            self,
            train_images=self.train_images.to(device),
            train_labels=self.train_labels.to(device),
            test_images=self.test_images.to(device),
            test_labels=self.test_labels.to(device),
        )

    def held_out(self, share: float = 0.1) -> Self:
        """Training images alone: a share of them, drawn once for all, takes the test's place.

        Example:
            >>> whole = load("digits")
            >>> tuning = whole.held_out()
            >>> len(tuning.train_labels) + len(tuning.test_labels) == len(whole.train_labels)
            True
        """
        count = len(self.train_labels)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(_SPLIT_SEED))
        order = order.to(self.train_labels.device)
        out, rest = order[: round(share * count)], order[round(share * count) :]
        return replace(
            self,
            train_images=self.train_images[rest],
            train_labels=self.train_labels[rest],
            test_images=self.train_images[out],
            test_labels=self.train_labels[out],
        )

    def halved(self) -> Self:
        """The same at half the size: means of 2 x 2 pixels."""
        return replace(
            self,
            train_images=F.avg_pool2d(self.train_images, 2),
            test_images=F.avg_pool2d(self.test_images, 2),
        )


def _tensors(source: ArraySource) -> tuple[Tensor, Tensor]:
    pixels = torch.tensor(source.images).float().div(255)[:, None]
    return pixels, torch.tensor(source.labels)


def load(name: str, *, root: str | None = None) -> Images:
    """Read a data set whole, normalised by the mean and the deviation of its training pixels.

    Args:
        name: digits (8 x 8) or fashion_mnist (28 x 28).
        root: folder of Fashion-MNIST, where it is not found.

    Raises:
        UserError: another name, or the files are not there.
    """
    if name not in DATA:
        raise UserError(f"got data {name!r}, expected one of {', '.join(DATA)}")
    if name == "digits":
        parts = [_tensors(digits(split)) for split in ("train", "val")]
    else:
        parts = [_tensors(fashion_mnist(split, root=root)) for split in ("train", "test")]
    (train, train_labels), (test, test_labels) = parts
    mean, std = float(train.mean()), float(train.std())
    return Images(
        train_images=(train - mean) / std,
        train_labels=train_labels,
        test_images=(test - mean) / std,
        test_labels=test_labels,
        std=std,
    )


class Batches:
    """Batches of several seeds at once, shifted and mirrored on the device.

    What is drawn depends on the seed and the update alone (random numbers are made on the CPU), so
    that networks of one seed see the same images on any device.

    Args:
        images_NCHW: training images, on the device.
        labels_N: their classes.
        seeds: one order of the images each.
        batch: images of a batch, for each seed.
        shift: most pixels by which an image is moved either way; what comes in is the edge.
        flip: mirror half of the images.

    Raises:
        UserError: fewer images than a batch has.
    """

    def __init__(
        self,
        images_NCHW: Tensor,
        labels_N: Tensor,
        *,
        seeds: tuple[int, ...],
        batch: int,
        shift: int = 0,
        flip: bool = False,
    ) -> None:
        if batch > len(images_NCHW):
            raise UserError(f"got batches of {batch}, expected at most {len(images_NCHW)} images")
        self.labels_N = labels_N
        self.size = images_NCHW.shape[2:]
        self.padded_NCHW = F.pad(images_NCHW, (shift,) * 4, mode="replicate")
        self.seeds, self.batch, self.shift, self.flip = seeds, batch, shift, flip
        self.per_epoch = len(images_NCHW) // batch
        self._epoch = -1
        self._drawn = torch.empty(0)

    def _draw(self, epoch: int) -> Tensor:
        """Index, shift down, shift right, mirrored: (S, 4, images of an epoch)."""
        count, used = len(self.labels_N), self.per_epoch * self.batch
        drawn = []
        for seed in self.seeds:
            generator = torch.Generator().manual_seed(1_000_003 * seed + epoch)
            order = torch.randperm(count, generator=generator)[:used]
            moves = torch.randint(0, 2 * self.shift + 1, (2, used), generator=generator)
            mirrored = torch.randint(0, 2, (used,), generator=generator) * int(self.flip)
            drawn.append(torch.stack([order, *moves, mirrored]))
        return torch.stack(drawn).to(self.labels_N.device)

    def __getitem__(self, update: int) -> tuple[Tensor, Tensor]:
        """Images (S, B, C, H, W) and classes (S, B) of an update, from 0."""
        epoch, place = divmod(update, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._drawn = epoch, self._draw(epoch)
        chosen = self._drawn[:, :, place * self.batch : (place + 1) * self.batch]
        index, down, right, mirrored = chosen.unbind(1)
        height, width = self.size
        rows = down[..., None] + torch.arange(height, device=index.device)
        columns = torch.arange(width, device=index.device).expand(*index.shape, width)
        columns = torch.where(mirrored[..., None] == 1, width - 1 - columns, columns)
        columns = columns + right[..., None]
        channels = torch.arange(self.padded_NCHW.shape[1], device=index.device)
        images_SBCHW = self.padded_NCHW[
            index[..., None, None, None],
            channels[:, None, None],
            rows[:, :, None, :, None],
            columns[:, :, None, None, :],
        ]
        return images_SBCHW, self.labels_N[index]
