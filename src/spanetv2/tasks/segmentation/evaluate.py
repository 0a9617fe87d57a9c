"""Measuring a segmentation model on a data set."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.table import Table, percent
from spanetv2.tasks.evaluation import EvaluationPass, Measurement, run_evaluation
from spanetv2.tasks.segmentation.data.source import IGNORED
from spanetv2.tasks.segmentation.data.transforms import Preprocessing, Views
from spanetv2.tasks.segmentation.inference import Inference, segment
from spanetv2.tasks.segmentation.metrics import Metrics, SegmentationMeter
from spanetv2.text import shorten

__all__ = ["EvaluationResult", "Example", "evaluate", "measure_batches", "result_of"]

_ROWS = 160


@dataclasses.dataclass(frozen=True, kw_only=True)
class Example:
    """An image, what is in it, and what the model saw."""

    image: Tensor
    """(C, H, W) uint8, as the model was shown it"""
    truth: Tensor
    """(H', W') uint8 labels"""
    predicted: Tensor
    """(H', W') uint8 classes"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationResult(Metrics, Measurement):
    """Figures of a data set, and how they were got."""

    examples: list[Example]
    """the first images, if any were asked for"""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "images": self.images,
            "failed": self.failed,
            "miou": self.miou,
            "miou_classes": sum(row.iou is not None for row in self.per_class),
            "pixel_accuracy": self.pixel_accuracy,
            "mean_accuracy": self.mean_accuracy,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "num_classes": len(self.classes),
            "classes": [
                {"index": i, "class": name, **dataclasses.asdict(row)}
                for i, (name, row) in enumerate(zip(self.classes, self.per_class, strict=True))
            ],
            "failures": [failure._asdict() for failure in self.failures],
        }

    def text(self) -> str:
        """A table of the classes that occur or were predicted, and a summary."""
        rows = list(zip(self.classes, self.per_class, strict=True))
        shown = [(name, row) for name, row in rows if row.pixels or row.predicted]
        table = []
        for name, row in shown[:_ROWS]:
            figures = [percent(row.iou), percent(row.accuracy), percent(row.precision)]
            table.append([shorten(name), *figures, str(row.pixels)])
        header = ["class", "IoU", "recall", "precision", "pixels"]
        lines = [Table("", header, table).text().rstrip()]
        if len(shown) > _ROWS:
            lines.append(f"... and {len(shown) - _ROWS} more classes (all in --json)")
        missing = len(rows) - sum(row.pixels > 0 for _, row in rows)
        note = f" ({missing} of the model's classes do not occur)" if missing else ""
        lines.append(
            f"\n{self.images} images{note}\n"
            f"mIoU {100 * self.miou:.2f} % over {_covered(self)}   "
            f"pixel accuracy {100 * self.pixel_accuracy:.2f} %   "
            f"mean accuracy {100 * self.mean_accuracy:.2f} %   "
            f"{self.images_per_second:.1f} images/s"
        )
        return "\n".join(lines)


def _covered(result: Metrics) -> str:
    """How many classes the mean is over: those that occur or are predicted."""
    covered = sum(row.iou is not None for row in result.per_class)
    every = len(result.per_class)
    return f"{covered} classes" if covered == every else f"{covered} of {every} classes"


def evaluate(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    classes: Sequence[str],
    preprocessing: Preprocessing,
    inference: Inference | None = None,
    mapping: Sequence[int] | None = None,
    device: torch.device | str = "cpu",
    progress: bool = False,
    examples: int = 0,
) -> EvaluationResult:
    """Measure a segmentation model at the size of the label maps.

    Args:
        model: gives scores (B, K, H, W) for images (B, C, H, W); evaluated in evaluation mode and
            left in the mode it was in.
        loader: gives lists of ``Views``, or ``PartialBatch`` of such lists.
        classes: names of the model's outputs.
        preprocessing: of images.
        inference: windows, scales, mirror images.
        mapping: the output that each of the data's labels means; by default the labels are they.
        device: where to compute.
        progress: show a bar.
        examples: images to keep for a picture.

    Returns:
        The figures.

    Raises:
        UserError: nothing could be read, or an output is not finite.
        ImageError: a file cannot be read and the loader does not skip it.
    """
    meter = SegmentationMeter(len(classes), device=device)
    kept: list[Example] = []
    measure = measure_batches(
        model,
        meter,
        preprocessing=preprocessing,
        inference=inference,
        mapping=mapping,
        device=device,
        kept=kept,
        examples=examples,
    )
    done = run_evaluation(model, loader, measure, device=device, progress=progress)
    return result_of(meter, done, classes, kept)


def measure_batches(
    model: nn.Module,
    meter: SegmentationMeter,
    *,
    preprocessing: Preprocessing,
    inference: Inference | None,
    mapping: Sequence[int] | None,
    device: torch.device | str,
    kept: list[Example],
    examples: int,
) -> Callable[[list[Views]], int]:
    """A function that adds what a model sees in a batch to a meter, and gives its images.

    Args:
        kept: the first so many ``examples`` are added to it.
    """
    table = None if mapping is None else _table(mapping)

    def measure(batch: list[Views]) -> int:
        for views in batch:
            truth = views.masks if table is None else table[views.masks.long()]
            predicted = predict_views(model, views, preprocessing, inference, device)
            meter.update(predicted, truth)
            for i in range(min(len(truth), examples - len(kept))):
                kept.append(
                    Example(
                        image=views.images[0][i], truth=truth[i].cpu(), predicted=predicted[i].cpu()
                    )
                )
        return sum(len(views.masks) for views in batch)

    return measure


def result_of(
    meter: SegmentationMeter,
    done: EvaluationPass,
    classes: Sequence[str],
    kept: Sequence[Example] = (),
) -> EvaluationResult:
    """The figures of what a meter holds.

    Raises:
        UserError: it holds nothing.
    """
    if not bool(meter.tensors()[0]):
        raise UserError("got no images to evaluate, expected at least one that can be read")
    return EvaluationResult(
        **vars(meter.compute()), **vars(done), classes=list(classes), examples=list(kept)
    )


def predict_views(
    model: nn.Module,
    views: Views,
    preprocessing: Preprocessing,
    inference: Inference | None,
    device: torch.device | str,
) -> Tensor:
    """Classes (B, H, W) of a batch at the size of its label maps."""
    images = [image.to(device, non_blocking=True) for image in views.images]
    size = (views.masks.shape[-2], views.masks.shape[-1])
    return segment(model, images, size=size, preprocessing=preprocessing, inference=inference)


def _table(mapping: Sequence[int]) -> Tensor:
    table = torch.full((256,), IGNORED, dtype=torch.uint8)
    table[: len(mapping)] = torch.tensor(list(mapping), dtype=torch.uint8)
    return table
