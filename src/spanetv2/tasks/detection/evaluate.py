"""Measuring a detector on a data set."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from spanetv2.errors import UserError
from spanetv2.table import Table, percent
from spanetv2.tasks.detection.metrics import DetectionMeter, Found, Metrics
from spanetv2.tasks.detection.model import Detector
from spanetv2.tasks.evaluation import EvaluationPass, Measurement, run_evaluation
from spanetv2.text import shorten

__all__ = [
    "EvaluationResult",
    "evaluate",
    "figures",
    "match_classes",
    "measure_batch",
    "measure_batches",
    "result_of",
]

_ROWS = 100
_COCO = ("", "AP", "AP50", "AP75", "S", "M", "L", "AR1", "AR10", "AR100", "S", "M", "L")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluationResult(Metrics, Measurement):
    """Figures of a data set, and how they were got; label k is the k-th class."""

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

    def text(self) -> str:
        """A table of the classes that occur, COCO's twelve numbers, and a summary."""
        present = [i for i, row in enumerate(self.per_class) if row.objects]
        rows = []
        for i in present[:_ROWS]:
            row = self.per_class[i]
            figures = [percent(row.box_ap, 1), percent(row.mask_ap, 1)]
            rows.append([shorten(self.classes[i]), str(row.objects), *figures])
        header = ["class", "objects", "box AP", "mask AP"]
        lines = [Table("", header, rows).text().rstrip()]
        if len(present) > _ROWS:
            lines.append(f"... and {len(present) - _ROWS} more classes (all in --json)")
        parts = []
        for name, part in (("box", self.box), ("mask", self.mask)):
            if part is not None:
                numbers = [getattr(part, field.name) for field in dataclasses.fields(part)]
                parts.append([name, *(percent(number, 1) for number in numbers)])
        lines.append("\n" + Table("", _COCO, parts).text().rstrip())
        lines.append(
            f"\n{self.images} images, {self.objects} objects, {self.detections} detections, "
            f"{self.images_per_second:.1f} images/s"
        )
        return "\n".join(lines)


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
        loader: gives batches of (images, targets), or ``PartialBatch`` of such batches.
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
    meter = DetectionMeter(len(classes), masks=bool(detector.options.masks))
    measure = measure_batches(detector, meter, device=device, on_image=on_image)
    done = run_evaluation(detector, loader, measure, device=device, progress=progress)
    return result_of(meter, done, classes)


def measure_batches(
    detector: Detector,
    meter: DetectionMeter,
    *,
    device: torch.device | str,
    on_image: Callable[[torch.Tensor, dict[str, torch.Tensor], Found], None] | None = None,
) -> Callable[[Any], int]:
    """A function that adds what is found in a batch to a meter, and gives its images."""

    def measure(batch: tuple[Sequence[torch.Tensor], Sequence[dict[str, torch.Tensor]]]) -> int:
        images, targets = batch
        results = measure_batch(detector, meter, images, targets, device=device)
        if on_image is not None:
            for row in zip(images, targets, results, strict=True):
                on_image(*row)
        return len(images)

    return measure


def result_of(
    meter: DetectionMeter, done: EvaluationPass, classes: Sequence[str]
) -> EvaluationResult:
    """The figures of what a meter holds."""
    return EvaluationResult(**vars(meter.compute()), **vars(done), classes=list(classes))


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
