"""Images with several labels, or none: loss and mean average precision.

Shape suffixes: B images, K classes.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spanetv2.errors import UserError
from spanetv2.table import percent
from spanetv2.tasks.classification.class_report import class_lines, closing_line
from spanetv2.tasks.evaluation import EvaluationPass, Measurement, run_evaluation

__all__ = [
    "LabelMeter",
    "LabelResult",
    "evaluate_labels",
    "hot",
    "label_loss",
    "label_result_of",
    "measure_label_batches",
]


def label_loss(logits_BK: Tensor, targets_BK: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Binary cross-entropy in nats, a mean over images and classes.

    Args:
        logits_BK: before the sigmoid.
        targets_BK: 0 to 1.
        smoothing: targets are drawn together by it: 0 becomes half of it, 1 one minus that.

    Example:
        >>> round(float(label_loss(torch.zeros(2, 3), torch.ones(2, 3))), 4)
        0.6931
    """
    targets = targets_BK * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(logits_BK.float(), targets)


def hot(labels: Tensor, classes: int) -> Tensor:
    """(B,) class indices as (B, K) of 0 and 1; labels that are such already stay."""
    return labels if labels.ndim == 2 else F.one_hot(labels, classes).float()


@dataclass(frozen=True, kw_only=True)
class LabelMetrics:
    """Figures of one class; None where they are undefined (no such image or answer)."""

    images: int
    """images that have it"""
    predicted: int
    """images that are said to have it: probability above 0.5"""
    ap: float | None
    """average precision of the images in the order of their probabilities, 0 to 1"""
    precision: float | None
    """share of the images said to have it that have it, 0 to 1"""
    recall: float | None
    """share of its images that are said to have it, 0 to 1"""
    f1: float | None
    """harmonic mean of precision and recall, 0 to 1"""


@dataclass(frozen=True, kw_only=True)
class LabelFigures:
    """Figures of a data set."""

    images: int
    """number of images"""
    map: float
    """mean average precision over the classes that occur, 0 to 1"""
    f1: float
    """harmonic mean of precision and recall of all labels together at 0.5, 0 to 1"""
    loss: float
    """mean binary cross-entropy in nats"""
    per_class: list[LabelMetrics]
    """by class index"""


class LabelMeter:
    """Keeps what a classifier says of every image, and measures it.

    Args:
        num_classes: number of the model's outputs.

    Example:
        >>> meter = LabelMeter(2)
        >>> meter.update(torch.tensor([[2.0, 1.0], [0.0, 3.0]]), torch.tensor([[1, 0], [0, 1]]))
        >>> meter.compute().map
        1.0
    """

    def __init__(self, num_classes: int):
        self.num_classes = num_classes
        self._logits: list[Tensor] = []
        self._targets: list[Tensor] = []

    @torch.no_grad()
    def update(self, logits_BK: Tensor, targets_BK: Tensor) -> None:
        """Take in a batch: outputs before the sigmoid, and what is right (0 or 1)."""
        assert logits_BK.shape == targets_BK.shape == (len(logits_BK), self.num_classes)
        self._logits.append(logits_BK.float().cpu())
        self._targets.append(targets_BK.to(torch.uint8).cpu())

    def gather(self) -> None:
        """Take in what the other processes hold; each then has all."""
        parts: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(parts, (self._logits, self._targets))
        self._logits = [part for logits, _ in parts for part in logits]
        self._targets = [part for _, targets in parts for part in targets]

    def rows(self) -> Any:
        """See ``spanetv2.tasks.evaluation.Meter``: the logits and targets of every image."""
        rows = [[part.tolist() for part in parts] for parts in (self._logits, self._targets)]
        self._logits, self._targets = [], []
        return rows

    def add(self, rows: Any) -> None:
        """See ``spanetv2.tasks.evaluation.Meter``."""
        logits, targets = rows
        self._logits += [torch.tensor(part) for part in logits]
        self._targets += [torch.tensor(part, dtype=torch.uint8) for part in targets]

    def compute(self) -> LabelFigures:
        """The figures so far.

        Raises:
            UserError: no image was seen, or an output was not finite.

        Source: average precision as scikit-learn defines it: precision at every image that has the
        class, those of one probability taken together.
        """
        from sklearn.metrics import average_precision_score

        if not self._logits:
            raise UserError("got no images to evaluate, expected at least one that can be read")
        logits, targets = torch.cat(self._logits), torch.cat(self._targets)
        if bad := int((~logits.isfinite().all(dim=1)).sum()):
            raise UserError(
                f"the model's outputs are not finite for {bad} of {len(logits)} images; "
                "are the weights damaged, or is the precision too low?"
            )
        loss = float(label_loss(logits, targets.float()))
        said, true = (logits > 0).numpy(), targets.numpy().astype(bool)
        right = (said & true).sum(axis=0)
        images, predicted = true.sum(axis=0), said.sum(axis=0)
        per_class = [
            LabelMetrics(
                images=int(images[k]),
                predicted=int(predicted[k]),
                ap=float(average_precision_score(true[:, k], logits[:, k].numpy()))
                if images[k]
                else None,
                precision=_ratio(right[k], predicted[k]),
                recall=_ratio(right[k], images[k]),
                f1=_ratio(2 * right[k], images[k] + predicted[k]),
            )
            for k in range(self.num_classes)
        ]
        precisions = [row.ap for row in per_class if row.ap is not None]
        return LabelFigures(
            images=len(logits),
            map=float(np.mean(precisions)) if precisions else 0.0,
            f1=_ratio(2 * right.sum(), images.sum() + predicted.sum()) or 0.0,
            loss=loss,
            per_class=per_class,
        )


def _ratio(part: int, whole: int) -> float | None:
    return float(part) / float(whole) if whole else None


@dataclass(frozen=True, kw_only=True)
class LabelResult(LabelFigures, Measurement):
    """Figures of a data set, and how they were got."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "images": self.images,
            "failed": self.failed,
            "map": self.map,
            "f1": self.f1,
            "loss": self.loss,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "num_classes": len(self.classes),
            "classes": [
                {"index": i, "class": name, **dataclasses.asdict(row)}
                for i, (name, row) in enumerate(zip(self.classes, self.per_class, strict=True))
                if row.images or row.predicted
            ],
            "failures": [failure._asdict() for failure in self.failures],
        }

    def text(self) -> str:
        """A table of the classes that occur, and a summary."""
        figures = {
            "AP": lambda row: percent(row.ap),
            "precision": lambda row: percent(row.precision),
            "recall": lambda row: percent(row.recall),
        }
        lines = class_lines(self.classes, self.per_class, figures)
        headline = f"mAP {100 * self.map:.2f} %   F1 at 0.5 {100 * self.f1:.2f} %"
        lines.append(closing_line(self, self.per_class, headline))
        return "\n".join(lines)


def evaluate_labels(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    classes: Sequence[str],
    mapping: Sequence[int] | None = None,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> LabelResult:
    """Measure a classifier whose outputs are each a yes or no of its own.

    Args:
        model: gives logits (B, K) for images (B, C, H, W); evaluated in evaluation mode and left in
            the mode it was in.
        loader: gives (images, targets), or ``PartialBatch`` of such pairs; targets are (B, k) of 0
            and 1, or (B,) class indices.
        classes: names of the model's outputs.
        mapping: the output that each of the data's classes means; by default they are the outputs.
        device: where to compute.
        progress: show a bar with the rate and the time left.

    Raises:
        UserError: no image could be read, or an output is not finite.
        ImageError: an image cannot be read and the loader does not skip it.
    """
    meter = LabelMeter(len(classes))
    measure = measure_label_batches(model, meter, mapping=mapping, device=device)
    done = run_evaluation(model, loader, measure, device=device, progress=progress)
    return label_result_of(meter, done, classes)


def measure_label_batches(
    model: nn.Module,
    meter: LabelMeter,
    *,
    mapping: Sequence[int] | None,
    device: torch.device | str,
) -> Callable[[tuple[Tensor, Tensor]], int]:
    """A function that adds what a classifier says of a batch to a meter, and gives its images."""
    classes = meter.num_classes
    places = torch.arange(classes) if mapping is None else torch.tensor(mapping)

    def measure(batch: tuple[Tensor, Tensor]) -> int:
        images, labels = batch
        targets = torch.zeros(len(images), classes)
        targets[:, places] = hot(labels, len(places))
        meter.update(model(images.to(device, non_blocking=True)), targets)
        return len(images)

    return measure


def label_result_of(meter: LabelMeter, done: EvaluationPass, classes: Sequence[str]) -> LabelResult:
    """The figures of what a meter holds."""
    return LabelResult(**vars(meter.compute()), **vars(done), classes=list(classes))
