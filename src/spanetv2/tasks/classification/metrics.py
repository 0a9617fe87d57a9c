"""Accuracy, loss, per-class figures and confusions, added up batch by batch.

Everything is a sum of counts, so meters of several processes are added
(``torch.distributed.all_reduce`` of ``tensors()``) before ``compute``.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from spanetv2.errors import UserError
from spanetv2.tasks.evaluation import add_sums, take_sums

__all__ = ["MAX_CONFUSION_CLASSES", "ClassMetrics", "ClassificationMeter", "Metrics"]

MAX_CONFUSION_CLASSES = 4096
"""With more classes than this the confusion matrix (classes x classes) is not kept."""


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """Figures of one class; None where they are undefined (no such image or prediction)."""

    images: int
    """images of this class"""
    predicted: int
    """images taken for this class"""
    top1: float | None
    """share of its images recognised (recall), 0 to 1"""
    top5: float | None
    """share of its images with this class among the best k, 0 to 1"""
    precision: float | None
    """share of the images taken for this class that are of it, 0 to 1"""
    f1: float | None
    """harmonic mean of precision and recall, 0 to 1"""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Figures of a data set."""

    images: int
    """number of images"""
    top1: float
    """share of images whose best class is right, 0 to 1"""
    top5: float
    """share of images whose right class is among the best k, 0 to 1"""
    loss: float
    """mean cross-entropy in nats"""
    per_class: list[ClassMetrics]
    """by class index"""
    confusion: Tensor | None
    """(classes, classes) int64 counts: rows are true, columns predicted classes"""


class ClassificationMeter:
    """Adds up what a classifier gets right.

    Args:
        num_classes: number of the model's outputs.
        topk: the k of the second accuracy; all classes if there are fewer.
        confusion: keep the confusion matrix (unless there are too many classes).
        device: where the counts are kept; that of the logits avoids waiting for a GPU.

    Example:
        >>> meter = ClassificationMeter(3)
        >>> meter.update(torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]]), torch.tensor([0, 1]))
        >>> meter.compute().top1
        0.5
    """

    def __init__(
        self,
        num_classes: int,
        *,
        topk: int = 5,
        confusion: bool = True,
        device: torch.device | str = "cpu",
    ):
        self.num_classes = num_classes
        self.topk = min(topk, num_classes)
        # Loss and number of images with outputs that are not finite. Apple's GPUs lack float64.
        precise = torch.float32 if torch.device(device).type == "mps" else torch.float64
        self._totals = torch.zeros(2, dtype=precise, device=device)
        # Rows: images, right at once, right among the best k, predicted.
        self._counts = torch.zeros(4, num_classes, dtype=torch.int64, device=device)
        self._confusion: Tensor | None = None
        if confusion and num_classes <= MAX_CONFUSION_CLASSES:
            self._confusion = torch.zeros(num_classes**2, dtype=torch.int64, device=device)

    @torch.no_grad()
    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Count a batch.

        Args:
            logits: (B, classes).
            targets: (B,) right classes, 0 <= target < classes.
        """
        assert logits.ndim == 2
        assert logits.shape[1] == self.num_classes
        logits, targets = logits.to(self._counts.device).float(), targets.to(self._counts.device)
        self._totals[0] += F.cross_entropy(logits, targets, reduction="sum")
        self._totals[1] += (~logits.isfinite().all(dim=1)).sum()
        best = logits.topk(self.topk, dim=1).indices
        hits = best == targets[:, None]
        rows = (torch.ones_like(targets), hits[:, 0].long(), hits.any(dim=1).long())
        for count, values in zip(self._counts, rows, strict=False):
            count.index_add_(0, targets, values)
        self._counts[3].index_add_(0, best[:, 0], rows[0])
        if self._confusion is not None:
            self._confusion.index_add_(0, targets * self.num_classes + best[:, 0], rows[0])

    def tensors(self) -> list[Tensor]:
        """The counts themselves: add those of other meters to them in place."""
        tensors = [self._totals, self._counts]
        return tensors if self._confusion is None else [*tensors, self._confusion]

    def rows(self) -> Any:
        """See ``spanetv2.tasks.evaluation.Meter``."""
        return take_sums(self.tensors())

    def add(self, rows: Any) -> None:
        """See ``spanetv2.tasks.evaluation.Meter``."""
        add_sums(self.tensors(), rows)

    def compute(self) -> Metrics:
        """The figures so far.

        Raises:
            UserError: no image was counted, or an output was not finite.
        """
        loss, not_finite = self._totals.tolist()
        images, right, among, predicted = self._counts.tolist()
        total = sum(images)
        if not total:
            raise UserError("got no images to evaluate, expected at least one that can be read")
        if not_finite:
            raise UserError(
                f"the model's outputs are not finite for {int(not_finite)} of {total} images; "
                "are the weights damaged, or is the precision too low?"
            )
        square = (self.num_classes, self.num_classes)
        return Metrics(
            images=total,
            top1=sum(right) / total,
            top5=sum(among) / total,
            loss=loss / total,
            per_class=[
                ClassMetrics(
                    images=n,
                    predicted=p,
                    top1=_ratio(r, n),
                    top5=_ratio(a, n),
                    precision=_ratio(r, p),
                    f1=_ratio(2 * r, n + p),
                )
                for n, r, a, p in zip(images, right, among, predicted, strict=True)
            ],
            confusion=None if self._confusion is None else self._confusion.reshape(square).cpu(),
        )


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
