"""Measuring a classifier on a data set."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spanetv2.data.classes import class_titles
from spanetv2.table import percent
from spanetv2.tasks.classification.class_report import class_lines, closing_line
from spanetv2.tasks.classification.metrics import ClassificationMeter, Metrics
from spanetv2.tasks.evaluation import EvaluationPass, Measurement, run_evaluation

__all__ = ["EvaluationResult", "evaluate", "measure_batches", "result_of"]

_DENSE_CLASSES = 100
_CONFUSED_PAIRS = 50
_PAIRS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationResult(Metrics, Measurement):
    """Figures of a data set, and how they were got."""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values.

        With at most 100 classes the confusion matrix is given whole (``confusion_matrix``: rows are
        true, columns predicted classes); always the most frequent confusions.
        """
        names = self.classes
        titles = class_titles(names)
        result: dict[str, Any] = {
            "images": self.images,
            "failed": self.failed,
            "top1": self.top1,
            "top5": self.top5,
            "loss": self.loss,
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "num_classes": len(names),
            "classes": [
                {"index": i, "class": name, "title": title, **dataclasses.asdict(row)}
                for i, (name, title, row) in enumerate(
                    zip(names, titles, self.per_class, strict=True)
                )
                if row.images or row.predicted
            ],
            "failures": [failure._asdict() for failure in self.failures],
        }
        if self.confusion is not None:
            if len(names) <= _DENSE_CLASSES:
                result["confusion_matrix"] = self.confusion.tolist()
            result["most_confused"] = [
                {"true": names[true], "predicted": names[predicted], "images": count}
                for true, predicted, count in self.most_confused(_CONFUSED_PAIRS)
            ]
        return result

    def most_confused(self, limit: int) -> list[tuple[int, int, int]]:
        """The most frequent mistakes as (true class, predicted class, images), worst first."""
        if self.confusion is None:
            return []
        wrong = self.confusion.clone().fill_diagonal_(0)
        pairs = wrong.nonzero()
        counts = wrong[pairs[:, 0], pairs[:, 1]]
        order = counts.argsort(descending=True, stable=True)[:limit]
        rows = torch.cat([pairs, counts[:, None]], dim=1)[order].tolist()
        return [(true, predicted, count) for true, predicted, count in rows]

    def text(self) -> str:
        """A table of the classes that occur, the most frequent mistakes, and a summary."""
        titles = class_titles(self.classes)
        figures = {
            "top-1": lambda row: percent(row.top1),
            "top-5": lambda row: percent(row.top5),
            "precision": lambda row: percent(row.precision),
        }
        lines = class_lines(titles, self.per_class, figures)
        if confused := self.most_confused(_PAIRS):
            lines.append("\nmost frequent mistakes (true -> predicted)")
            for true, predicted, count in confused:
                lines.append(f"{count:6}  {titles[true]} -> {titles[predicted]}")
        headline = f"top-1 {100 * self.top1:.2f} %   top-5 {100 * self.top5:.2f} %"
        lines.append(closing_line(self, self.per_class, headline))
        return "\n".join(lines)


def evaluate(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    classes: Sequence[str],
    mapping: Sequence[int] | None = None,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> EvaluationResult:
    """Measure a classifier.

    Args:
        model: gives logits (B, classes) for images (B, C, H, W); evaluated in evaluation mode and
            left in the mode it was in.
        loader: gives (images, targets), or ``PartialBatch`` of such pairs.
        classes: names of the model's outputs. Top-1 is over all of them, also where the data holds
            images of a few only.
        mapping: the output that each of the data's labels means, see ``match_classes``; by default
            the labels are the outputs.
        device: where to compute.
        progress: show a bar with the rate and the time left.

    Returns:
        The figures.

    Raises:
        UserError: no image could be read, or an output is not finite.
        ImageError: an image cannot be read and the loader does not skip it.
    """
    meter = ClassificationMeter(len(classes), device=device)
    measure = measure_batches(model, meter, mapping=mapping, device=device)
    done = run_evaluation(model, loader, measure, device=device, progress=progress)
    return result_of(meter, done, classes)


def measure_batches(
    model: nn.Module,
    meter: ClassificationMeter,
    *,
    mapping: Sequence[int] | None,
    device: torch.device | str,
) -> Callable[[tuple[Tensor, Tensor]], int]:
    """A function that adds what a classifier says of a batch to a meter, and gives its images."""
    table = None if mapping is None else torch.tensor(mapping, dtype=torch.int64)

    def measure(batch: tuple[Tensor, Tensor]) -> int:
        images, targets = batch
        targets = targets if table is None else table[targets]
        meter.update(model(images.to(device, non_blocking=True)), targets)
        return len(images)

    return measure


def result_of(
    meter: ClassificationMeter, done: EvaluationPass, classes: Sequence[str]
) -> EvaluationResult:
    """The figures of what a meter holds."""
    return EvaluationResult(**vars(meter.compute()), **vars(done), classes=list(classes))
