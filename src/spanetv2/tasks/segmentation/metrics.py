"""Intersection over union and pixel accuracy, added up batch by batch.

Everything is a sum of counts, so meters of several processes are added (``tensors()``) before
``compute``. Pixels that are not labelled count nowhere.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

from spanetv2.errors import UserError
from spanetv2.tasks.evaluation import add_sums, take_sums
from spanetv2.tasks.segmentation.data.source import IGNORED

__all__ = ["ClassMetrics", "Metrics", "SegmentationMeter"]


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """Figures of one class; None where they are undefined."""

    pixels: int
    """labelled pixels of this class"""
    predicted: int
    """labelled pixels taken for this class"""
    iou: float | None
    """pixels of the class that were recognised, over those that are of it or taken for it"""
    accuracy: float | None
    """share of its pixels recognised (recall)"""
    precision: float | None
    """share of the pixels taken for it that are of it"""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Figures of a data set; shares from 0 to 1."""

    images: int
    """number of images"""
    miou: float
    """mean IoU over the classes that occur or are predicted"""
    pixel_accuracy: float
    """share of the labelled pixels whose class is right"""
    mean_accuracy: float
    """mean recall over the classes that occur"""
    per_class: list[ClassMetrics]
    """by class index"""
    confusion: Tensor
    """(K, K) int64 pixels: rows are true, columns predicted classes"""


class SegmentationMeter:
    """Adds up what a segmentation model gets right.

    Args:
        num_classes: classes K.
        device: where the counts are kept.

    Example:
        >>> meter = SegmentationMeter(2)
        >>> meter.update(torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 1, 1, 255]]]))
        >>> meter.compute().miou
        0.5
    """

    def __init__(self, num_classes: int, *, device: torch.device | str = "cpu"):
        self.num_classes = num_classes
        self._images = torch.zeros(1, dtype=torch.int64, device=device)
        self._confusion = torch.zeros(num_classes, num_classes, dtype=torch.int64, device=device)

    @torch.no_grad()
    def update(self, predicted_BHW: Tensor, target_BHW: Tensor) -> None:
        """Count a batch.

        Args:
            predicted_BHW: classes, 0 <= class < K.
            target_BHW: right classes of the same shape; 255 is not labelled.
        """
        assert predicted_BHW.shape == target_BHW.shape
        device = self._confusion.device
        self._confusion += multiclass_confusion_matrix(
            predicted_BHW.to(device).long(),
            target_BHW.to(device).long(),
            self.num_classes,
            ignore_index=IGNORED,
            validate_args=False,
        )
        self._images += len(target_BHW)

    def tensors(self) -> list[Tensor]:
        """The counts themselves: add those of other meters to them in place."""
        return [self._images, self._confusion]

    def rows(self) -> Any:
        """See ``spanetv2.tasks.evaluation.Meter``."""
        return take_sums(self.tensors())

    def add(self, rows: Any) -> None:
        """See ``spanetv2.tasks.evaluation.Meter``."""
        add_sums(self.tensors(), rows)

    def compute(self) -> Metrics:
        """The figures so far.

        Raises:
            UserError: no labelled pixel was counted.
        """
        confusion = self._confusion.cpu()
        right = confusion.diagonal().tolist()
        pixels, predicted = confusion.sum(dim=1).tolist(), confusion.sum(dim=0).tolist()
        if not sum(pixels):
            raise UserError("got no labelled pixels to evaluate, expected at least one")
        rows = [
            ClassMetrics(
                pixels=n,
                predicted=p,
                iou=_ratio(r, n + p - r),
                accuracy=_ratio(r, n),
                precision=_ratio(r, p),
            )
            for r, n, p in zip(right, pixels, predicted, strict=True)
        ]
        return Metrics(
            images=int(self._images),
            miou=_mean([row.iou for row in rows]),
            pixel_accuracy=sum(right) / sum(pixels),
            mean_accuracy=_mean([row.accuracy for row in rows]),
            per_class=rows,
            confusion=confusion,
        )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _mean(values: list[float | None]) -> float:
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined)
