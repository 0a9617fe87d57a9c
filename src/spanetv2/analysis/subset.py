"""Images of a data set of any task for an analysis: evenly over it, and brought to one size.

Shape suffixes: B images, C channels, H and W in pixels.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spanetv2.data.images import ImageError
from spanetv2.errors import UserError

__all__ = ["DataSubset", "as_batch", "mean_of_pixels"]

_GRID = 32  # pixels; the sides of a batch are multiples, as most networks take them


@dataclasses.dataclass(kw_only=True)
class DataSubset:
    """What the command line says of the images, for a task that opens them itself.

    Args:
        folder: of the data.
        dataset: their kind; None leaves it to the task.
        split: part of the data.
        limit: how many, evenly over the data.
        failed: number of images that could not be read so far.
    """

    folder: str
    dataset: str | None
    split: str
    limit: int
    failed: int = 0

    def samples(self, read: Callable[[int], Any], total: int) -> Iterator[Any]:
        """Up to ``limit`` samples; those that cannot be read are named on standard error.

        Raises:
            UserError: there are none, or none can be read.
        """
        read_any = False
        for index in np.unique(np.linspace(0, total - 1, min(self.limit, total)).round()):
            try:
                sample = read(int(index))
            except ImageError as error:
                print(f"error: {error}", file=sys.stderr)
                self.failed += 1
                continue
            read_any = True
            yield sample
        if not read_any:
            raise UserError(f"got no images that can be read in {self.folder}")


def as_batch(images: Sequence[Tensor]) -> Tensor:
    """Images (C, H, W) of any sizes as one batch of the first one's size, in steps of 32 pixels."""
    size = [max(_GRID, round(side / _GRID) * _GRID) for side in images[0].shape[1:]]
    return torch.cat(
        [
            image[None]
            if list(image.shape[1:]) == size
            else F.interpolate(image[None], size=size, mode="bilinear", antialias=True)
            for image in images
        ]
    )


def mean_of_pixels(images: Sequence[Tensor]) -> Tensor:
    """The mean of all pixels of images (C, H, W), per channel."""
    return torch.stack([image.double().mean(dim=(1, 2)) for image in images]).mean(0).float()
