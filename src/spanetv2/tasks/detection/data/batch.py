"""Samples of different sizes side by side."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from spanetv2.tasks.detection.data.coco import Sample, Target

__all__ = ["DetectionBatch", "collate"]


class DetectionBatch(NamedTuple):
    """Images that are not yet padded to one size, and what is on them."""

    images: list[Tensor]
    """(3, H, W) float32 from 0 to 1, each of its own size."""
    targets: list[Target]


def collate(samples: Sequence[Sample]) -> DetectionBatch:
    """Put samples together."""
    return DetectionBatch([image for image, _ in samples], [target for _, target in samples])
