"""COCO's average precision and recall of boxes and masks, by torchmetrics and faster-coco-eval.

Shape suffixes: N objects of an image, H and W rows and columns.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_convert

from spanetv2.errors import UserError
from spanetv2.tasks.detection.masks import RunLengths, encode_masks, encode_pixels

__all__ = ["Annotated", "AveragePrecision", "ClassPrecision", "DetectionMeter", "Found", "Metrics"]


@dataclass(frozen=True, kw_only=True)
class ClassPrecision:
    """Figures of one class; None where there is no such object."""

    objects: int
    """objects of this class, crowds not counted"""
    box_ap: float | None
    """average precision of boxes, over overlaps .5 to .95"""
    box_ar: float | None
    """average recall of boxes, at most 100 an image"""
    mask_ap: float | None
    """the same of masks"""
    mask_ar: float | None
    """the same of masks"""


@dataclass(frozen=True, kw_only=True)
class AveragePrecision:
    """COCO's twelve numbers, 0 to 1; None where there is no object of that size."""

    ap: float | None
    """average precision, over overlaps .5, .55, ... .95 and classes"""
    ap50: float | None
    """at an overlap of .5"""
    ap75: float | None
    """at an overlap of .75"""
    ap_small: float | None
    """of objects below 32 x 32 pixels"""
    ap_medium: float | None
    """of objects from there to 96 x 96"""
    ap_large: float | None
    """of objects above"""
    ar1: float | None
    """average recall with one detection per image"""
    ar10: float | None
    """with ten"""
    ar100: float | None
    """with a hundred"""
    ar_small: float | None
    """with a hundred, of small objects"""
    ar_medium: float | None
    """of medium ones"""
    ar_large: float | None
    """of large ones"""


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Figures of a data set."""

    images: int
    """number of images"""
    objects: int
    """objects in them, crowds not counted"""
    detections: int
    """detections of the model"""
    box: AveragePrecision
    """of boxes"""
    mask: AveragePrecision | None
    """of masks; None where none are predicted"""
    per_class: list[ClassPrecision]
    """by class, in the order of the labels 1, 2, ..."""


class Found(NamedTuple):
    """Detections in one image."""

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: list[RunLengths] | None


class Annotated(NamedTuple):
    """Objects in one image."""

    boxes: Tensor
    labels: Tensor
    crowd: Tensor
    area: Tensor
    masks: list[RunLengths] | None
    masked: Tensor
    """which of them have a mask; those of the others are the places of detections to ignore"""


_MARGIN = 0.25
"""Shares of a box's sides by which a detection's mask may reach over it and still be ignored."""

_NUMBERS = {
    "ap": "map",
    "ap50": "map_50",
    "ap75": "map_75",
    "ap_small": "map_small",
    "ap_medium": "map_medium",
    "ap_large": "map_large",
    "ar1": "mar_1",
    "ar10": "mar_10",
    "ar100": "mar_100",
    "ar_small": "mar_small",
    "ar_medium": "mar_medium",
    "ar_large": "mar_large",
}


class DetectionMeter:
    """Collects detections and objects, image by image, with masks as run lengths.

    Args:
        num_classes: classes; labels are 1 to this.
        masks: measure masks, too: of the objects that have one. An object without is to the figures
            of masks what a crowd is: detections at its box count neither way.
    """

    def __init__(self, num_classes: int, *, masks: bool = True):
        self.num_classes = num_classes
        self.masks = masks
        self.found: list[Found] = []
        self.true: list[Annotated] = []

    @torch.no_grad()
    def update(
        self,
        results: Sequence[dict[str, Tensor]],
        targets: Sequence[dict[str, Tensor]],
        sizes: Sequence[tuple[int, int]],
    ) -> list[Found]:
        """Add images.

        Args:
            results: what ``Detector.detect`` gave for them.
            targets: ``boxes`` (N, 4) as (x1, y1, x2, y2), ``labels`` (N,), and, where there are
                any, ``masks`` (N, H, W), ``has_mask`` (N,), ``iscrowd`` (N,) and ``area`` (N,) in
                square pixels.
            sizes: rows and columns of the images.

        Returns:
            The detections as they are kept.
        """
        added = []
        for result, target, size in zip(results, targets, sizes, strict=True):
            boxes = result["boxes"].float().cpu()
            found = Found(
                boxes,
                result["labels"].cpu(),
                result["scores"].float().cpu(),
                encode_masks(result["masks"], boxes, size) if self.masks else None,
            )
            self.found.append(found)
            self.true.append(_objects(target, size, masks=self.masks))
            added.append(found)
        return added

    def rows(self) -> Any:
        """See ``spanetv2.tasks.evaluation.Meter``: objects and detections of every image."""
        rows = [
            [
                [value.tolist() if isinstance(value, Tensor) else value for value in image]
                for image in images
            ]
            for images in (self.found, self.true)
        ]
        self.found, self.true = [], []
        return rows

    def add(self, rows: Any) -> None:
        """See ``spanetv2.tasks.evaluation.Meter``."""
        found, true = rows
        for boxes, labels, scores, masks in found:
            self.found.append(
                Found(
                    _boxes(boxes), _whole(labels), torch.tensor(scores, dtype=torch.float32), masks
                )
            )
        for boxes, labels, crowd, area, masks, masked in true:
            self.true.append(
                Annotated(
                    _boxes(boxes),
                    _whole(labels),
                    _whole(crowd),
                    torch.tensor(area, dtype=torch.float32),
                    masks,
                    torch.tensor(masked, dtype=torch.bool),
                )
            )

    def gather(self) -> None:
        """Join what the meters of all processes hold, in every one of them."""
        both: list[Any] = [None] * torch.distributed.get_world_size()
        torch.distributed.all_gather_object(both, (self.found, self.true))
        self.found = [found for part in both for found in part[0]]
        self.true = [true for part in both for true in part[1]]

    def compute(self) -> Metrics:
        """The figures so far.

        Raises:
            UserError: no image was added, or a detection is not finite.
        """
        if not self.true:
            raise UserError("got no images to evaluate, expected at least one that can be read")
        for found in self.found:
            if not (found.boxes.isfinite().all() and found.scores.isfinite().all()):
                raise UserError("the model's outputs are not finite; are the weights damaged?")
        values = self._values()
        single = torch.cat([true.labels[true.crowd == 0] for true in self.true])
        objects = torch.bincount(single, minlength=self.num_classes + 1).tolist()
        classes = {int(label): i for i, label in enumerate(values["classes"].reshape(-1))}

        def of_class(name: str, label: int) -> float | None:
            if name not in values or label not in classes:
                return None
            return _number(values[name].reshape(-1)[classes[label]])

        return Metrics(
            images=len(self.true),
            objects=sum(objects),
            detections=sum(len(found.labels) for found in self.found),
            box=_precision(values, "bbox_"),
            mask=_precision(values, "segm_") if "segm_map" in values else None,
            per_class=[
                ClassPrecision(
                    objects=objects[label],
                    box_ap=of_class("bbox_map_per_class", label),
                    box_ar=of_class("bbox_mar_100_per_class", label),
                    mask_ap=of_class("segm_map_per_class", label),
                    mask_ar=of_class("segm_mar_100_per_class", label),
                )
                for label in range(1, self.num_classes + 1)
            ],
        )

    def _values(self) -> dict[str, Tensor]:
        if not self.masks:
            return self._boxes()
        if all(bool(true.masked.all()) for true in self.true):
            return self._measure(self.true, ("bbox", "segm"))
        values = self._boxes()
        if any(bool((true.masked & (true.crowd == 0)).any()) for true in self.true):
            ignoring = [t._replace(crowd=t.crowd | (~t.masked).long()) for t in self.true]
            both = self._measure(ignoring, ("bbox", "segm"))
            values |= {name: value for name, value in both.items() if name.startswith("segm_")}
        return values

    def _boxes(self) -> dict[str, Tensor]:
        values = self._measure(self.true, ("bbox",))
        return {k if k == "classes" else f"bbox_{k}": v for k, v in values.items()}

    def _measure(self, true: Sequence[Annotated], kinds: tuple[str, ...]) -> dict[str, Tensor]:
        metric = _run_length_metric()(
            iou_type=kinds,
            # COCO's own, in float64; the defaults are rounded to float32 and move ties
            iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
            rec_thresholds=np.linspace(0.0, 1.0, 101).tolist(),
            class_metrics=True,
            backend="faster_coco_eval",
            sync_on_compute=False,  # ``gather`` has joined what the processes hold
        )
        metric.update(self.found, true)
        return metric.compute()


@functools.cache
def _run_length_metric() -> Any:
    """torchmetrics' class, which takes seconds to import, for masks that are run lengths already.

    Its own ``update`` takes pixels, and encodes them as they are encoded here.
    """
    from torchmetrics.detection import MeanAveragePrecision

    class RunLengthPrecision(MeanAveragePrecision):
        def update(self, predicted: Sequence[Found], true: Sequence[Annotated]) -> None:  # pyright: ignore
            for f, t in zip(predicted, true, strict=True):
                self.detection_box.append(box_convert(f.boxes, "xyxy", "xywh"))
                self.detection_labels.append(f.labels)
                self.detection_scores.append(f.scores)
                self.groundtruth_box.append(box_convert(t.boxes, "xyxy", "xywh"))
                self.groundtruth_labels.append(t.labels)
                self.groundtruth_crowds.append(t.crowd)
                self.groundtruth_area.append(t.area)
                if "segm" in self.iou_type:
                    self.detection_mask.append(_tuples(f.masks))
                    self.groundtruth_mask.append(_tuples(t.masks))

    return RunLengthPrecision


def _boxes(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def _whole(rows: list[int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64)


def _objects(target: dict[str, Tensor], size: tuple[int, int], *, masks: bool) -> Annotated:
    boxes, labels = target["boxes"].float().cpu(), target["labels"].cpu()
    pixels = target.get("masks")
    masked = torch.full_like(labels, pixels is not None, dtype=torch.bool)
    if pixels is not None and "has_mask" in target:
        masked = target["has_mask"].cpu()
    sides = boxes[:, 2:] - boxes[:, :2]
    return Annotated(
        boxes,
        labels,
        target.get("iscrowd", torch.zeros_like(labels)).long().cpu(),
        target.get("area", sides.prod(dim=1)).float().cpu(),
        _codes(boxes, pixels, masked, size) if masks else None,
        masked,
    )


def _codes(
    boxes: Tensor, pixels: Tensor | None, masked: Tensor, size: tuple[int, int]
) -> list[RunLengths]:
    """Masks as run lengths; those of objects without one are their boxes, with a margin."""
    if pixels is None:
        pixels = torch.zeros(len(boxes), *size, dtype=torch.uint8)
    if not bool(masked.all()):
        pixels = pixels.clone()
        for i in torch.where(~masked)[0].tolist():
            left, top, right, bottom = boxes[i].tolist()
            across, down = _MARGIN * (right - left), _MARGIN * (bottom - top)
            rows = slice(max(0, round(top - down)), max(0, round(bottom + down)))
            columns = slice(max(0, round(left - across)), max(0, round(right + across)))
            pixels[i, rows, columns] = 1
    return encode_pixels(pixels)


def _tuples(masks: list[RunLengths] | None) -> Any:
    return tuple((tuple(mask["size"]), mask["counts"].encode("ascii")) for mask in masks or ())


def _precision(values: dict[str, Tensor], prefix: str) -> AveragePrecision:
    return AveragePrecision(**{k: _number(values[prefix + v]) for k, v in _NUMBERS.items()})


def _number(value: Tensor) -> float | None:
    """COCO writes -1 where there is nothing to average."""
    number = float(value)
    return None if number < 0 else number
