"""Measuring a segmentation model on a data set."""

import dataclasses
import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spanetv2.data.images import Failure
from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.data.source import IGNORED
from spanetv2.tasks.segmentation.data.transforms import Preprocessing, Views
from spanetv2.tasks.segmentation.inference import Inference, segment
from spanetv2.tasks.segmentation.metrics import Metrics, SegmentationMeter

__all__ = ["EvaluationResult", "Example", "evaluate"]

_FAILURES = 1000


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
    examples: list[Example]
    """the first images, if any were asked for"""

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "images": self.images,
            "failed": self.failed,
            "miou": self.miou,
            "pixel_accuracy": self.pixel_accuracy,
            "mean_accuracy": self.mean_accuracy,
            "seconds": self.seconds,
            "images_per_second": self.images / max(self.seconds, 1e-9),
            "num_classes": len(self.classes),
            "classes": [
                {"index": i, "class": name, **dataclasses.asdict(row)}
                for i, (name, row) in enumerate(zip(self.classes, self.per_class, strict=True))
            ],
            "failures": [failure._asdict() for failure in self.failures],
        }


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
        loader: gives lists of ``Views``, or such lists with the images that could not be read.
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
    from tqdm import tqdm

    was_training = model.training
    model = model.to(device).eval()
    meter = SegmentationMeter(len(classes), device=device)
    table = None if mapping is None else _table(mapping)
    failures: list[Failure] = []
    failed = 0
    kept: list[Example] = []
    start = time.perf_counter()
    try:
        total = len(loader)  # pyright: ignore[reportArgumentType]
    except TypeError:
        total = None
    for item in tqdm(loader, total=total, unit="batch", desc="evaluate", disable=not progress):
        batch, problems = item if isinstance(item, tuple) else (item, [])
        failed += len(problems)
        failures += problems[: _FAILURES - len(failures)]
        for views in batch or ():
            truth = views.masks if table is None else table[views.masks.long()]
            predicted = predict_views(model, views, preprocessing, inference, device)
            meter.update(predicted, truth)
            for i in range(min(len(truth), examples - len(kept))):
                kept.append(
                    Example(
                        image=views.images[0][i], truth=truth[i].cpu(), predicted=predicted[i].cpu()
                    )
                )
    if not bool(meter.tensors()[0]):
        raise UserError("got no images to evaluate, expected at least one that can be read")
    metrics = meter.compute()  # waits for the device
    seconds = time.perf_counter() - start
    model.train(was_training)
    return EvaluationResult(
        **{field.name: getattr(metrics, field.name) for field in dataclasses.fields(metrics)},
        classes=list(classes),
        seconds=seconds,
        failures=failures,
        failed=failed,
        examples=kept,
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
