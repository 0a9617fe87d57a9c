"""Measuring a classifier on a data set."""

import dataclasses
import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from spanetv2.data.classes import class_titles
from spanetv2.data.images import Failure
from spanetv2.tasks.classification.metrics import ClassificationMeter, Metrics

__all__ = ["EvaluationResult", "evaluate"]

_DENSE_CLASSES = 100
_CONFUSED_PAIRS = 50
_FAILURES = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationResult(Metrics):
    """Figures of a data set, and how they were got."""

    classes: list[str]
    """class names by index"""
    seconds: float
    """wall-clock time for all batches, reading included"""
    failures: list[Failure]
    """images that could not be read, left out of all figures (the first 1000)"""
    failed: int
    """their number"""

    @property
    def images_per_second(self) -> float:
        """Images per second of wall-clock time, reading included."""
        return self.images / max(self.seconds, 1e-9)

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


@torch.inference_mode()
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
        loader: gives (images, targets), or ``Batch`` with the images that could not be read.
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
    from tqdm import tqdm

    was_training = model.training
    model = model.to(device).eval()
    meter = ClassificationMeter(len(classes), device=device)
    table = None if mapping is None else torch.tensor(mapping, dtype=torch.int64)
    failures: list[Failure] = []
    failed = 0
    start = time.perf_counter()
    try:
        total = len(loader)  # pyright: ignore[reportArgumentType] - a stream may have none
    except TypeError:
        total = None
    with tqdm(total=total, unit="batch", desc="evaluate", disable=not progress) as bar:
        images_seen = 0
        for images, targets, *rest in loader:
            for failure in rest[0] if rest else ():
                failed += 1
                if len(failures) < _FAILURES:
                    failures.append(failure)
            if images is not None:
                targets = targets if table is None else table[targets]
                meter.update(model(images.to(device, non_blocking=True)), targets)
                images_seen += len(images)
            bar.update()
            rate = images_seen / (time.perf_counter() - start)
            bar.set_postfix_str(f"{rate:.0f} images/s", refresh=False)
    metrics = meter.compute()  # waits for the device
    seconds = time.perf_counter() - start
    model.train(was_training)
    return EvaluationResult(
        **{field.name: getattr(metrics, field.name) for field in dataclasses.fields(metrics)},
        classes=list(classes),
        seconds=seconds,
        failures=failures,
        failed=failed,
    )
