"""Measuring a detector on a data set."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from spanetv2.data.images import Failure
from spanetv2.errors import UserError
from spanetv2.tasks.detection.metrics import DetectionMeter, Found, Metrics
from spanetv2.tasks.detection.model import Detector

__all__ = ["EvaluationResult", "evaluate", "figures", "match_classes", "measure_batch"]

_FAILURES = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationResult(Metrics):
    """Figures of a data set, and how they were got."""

    classes: list[str]
    """class names; label k is the k-th"""
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
        """Plain JSON values: COCO's twelve numbers of boxes and of masks, and those per class."""
        return {
            "images": self.images,
            "objects": self.objects,
            "detections": self.detections,
            "failed": self.failed,
            **figures(self),
            "box": dataclasses.asdict(self.box),
            "mask": None if self.mask is None else dataclasses.asdict(self.mask),
            "seconds": self.seconds,
            "images_per_second": self.images_per_second,
            "classes": [
                {"label": label, "class": name, **dataclasses.asdict(row)}
                for label, (name, row) in enumerate(
                    zip(self.classes, self.per_class, strict=True), start=1
                )
                if row.objects
            ],
            "failures": [failure._asdict() for failure in self.failures],
        }


def figures(metrics: Metrics) -> dict[str, float]:
    """The figures that training watches, 0 where there is nothing to average."""
    values = {}
    for name, part in (("box", metrics.box), ("mask", metrics.mask)):
        if part is not None:
            values |= {f"{name}_ap": part.ap, f"{name}_ap50": part.ap50}
    return {name: value or 0.0 for name, value in values.items()}


def match_classes(data: Sequence[str], model: Sequence[str]) -> list[str]:
    """Check that a detector knows the classes of a data set.

    Args:
        data: class names of the data.
        model: class names of the detector.

    Returns:
        The detector's, by which the data are to be labelled.

    Raises:
        UserError: the data have a class that the detector does not know.
    """
    unknown = [name for name in data if name not in model]
    if unknown:
        raise UserError(
            f"got {len(unknown)} classes in the data that the detector does not know "
            f"({', '.join(map(repr, unknown[:5]))}), expected some of its {len(model)} "
            f"({', '.join(map(repr, list(model)[:5]))}{', ...' if len(model) > 5 else ''})"
        )
    return list(model)


@torch.inference_mode()
def evaluate(
    detector: Detector,
    loader: Iterable[Any],
    *,
    classes: Sequence[str],
    device: torch.device | str = "cpu",
    progress: bool = False,
    on_image: Callable[[torch.Tensor, dict[str, torch.Tensor], Found], None] | None = None,
) -> EvaluationResult:
    """Measure a detector with COCO's average precision.

    Args:
        detector: evaluated in evaluation mode and left in the mode it was in.
        loader: gives batches of (images, targets), or pairs of such a batch (None if nothing of it
            could be read) and a list of failures.
        classes: names; label k is the k-th.
        device: where to compute.
        progress: show a bar with the rate and the time left.
        on_image: called with each image (3, H, W), its target and what was found.

    Returns:
        The figures.

    Raises:
        UserError: no image could be read, or an output is not finite.
        ImageError: an image cannot be read and the loader does not skip it.
    """
    from tqdm import tqdm

    was_training = detector.training
    detector = detector.to(device).eval()
    meter = DetectionMeter(len(classes), masks=detector.options.masks)
    failures: list[Failure] = []
    failed = 0
    start = time.perf_counter()
    total = len(loader) if hasattr(loader, "__len__") else None  # pyright: ignore
    try:
        with tqdm(total=total, unit="batch", desc="evaluate", disable=not progress) as bar:
            for batch, lost in map(_with_failures, loader):
                failed += len(lost)
                failures += lost[: _FAILURES - len(failures)]
                if batch is not None:
                    images, targets = batch
                    found = measure_batch(detector, meter, images, targets, device=device)
                    for row in zip(images, targets, found, strict=True) if on_image else ():
                        assert on_image is not None
                        on_image(*row)
                bar.update()
                rate = len(meter.true) / (time.perf_counter() - start)
                bar.set_postfix_str(f"{rate:.1f} images/s", refresh=False)
        seconds = time.perf_counter() - start
        metrics = meter.compute()
    finally:
        detector.train(was_training)
    return EvaluationResult(
        **{field.name: getattr(metrics, field.name) for field in dataclasses.fields(metrics)},
        classes=list(classes),
        seconds=seconds,
        failures=failures,
        failed=failed,
    )


def measure_batch(
    detector: Detector,
    meter: DetectionMeter,
    images: Sequence[torch.Tensor],
    targets: Sequence[dict[str, torch.Tensor]],
    *,
    device: torch.device | str,
) -> list[Found]:
    """Detect in a batch of images and add it to a meter; gives what was found."""
    results = detector.detect([image.to(device, non_blocking=True) for image in images])
    sizes = [(int(image.shape[-2]), int(image.shape[-1])) for image in images]
    return meter.update(results, targets, sizes)


def _with_failures(given: Any) -> tuple[Any, list[Failure]]:
    """A loader that skips gives (batch, failures); one that raises gives batches alone."""
    batch, second = given
    if batch is None or (isinstance(batch, tuple) and isinstance(second, list)):
        return batch, second
    return given, []
