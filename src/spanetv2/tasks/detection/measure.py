"""Measuring a detector's checkpoint on a data set of the user's."""

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spanetv2.data.loader import eval_batches
from spanetv2.drawing import save_picture
from spanetv2.environment import describe_device
from spanetv2.errors import UserError
from spanetv2.files import json_rows
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.detection.data.batch import collate
from spanetv2.tasks.detection.data.coco import CocoDetection
from spanetv2.tasks.detection.data.ids import OwnId
from spanetv2.tasks.detection.data.layout import find_coco
from spanetv2.tasks.detection.data.reading import Reading, reading_of
from spanetv2.tasks.detection.data.record import Categories, read_record, references
from spanetv2.tasks.detection.evaluate import (
    figures,
    match_classes,
    measure_batches,
    result_of,
)
from spanetv2.tasks.detection.masks import decode_mask
from spanetv2.tasks.detection.metrics import DetectionMeter
from spanetv2.tasks.detection.picture import draw_objects, sheet
from spanetv2.tasks.detection.results import coco_results
from spanetv2.tasks.detection.weights import load_detector
from spanetv2.tasks.evaluation import (
    Evaluation,
    EvaluationPass,
    EvaluationSettings,
    Measuring,
)

__all__ = [
    "DetectionEvaluation",
    "conclude",
    "empty_meter",
    "open_coco",
    "open_evaluation",
]

_SCORE = 0.5
_SHEET = 12


@dataclasses.dataclass(frozen=True, kw_only=True)
class DetectionEvaluation(Evaluation):
    """A measured detector.

    Args:
        detections: rows of COCO's results format; None where they were not kept.
    """

    detections: list[dict[str, Any]] | None = None

    def write(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write the figures to FILE.json and the detections to FILE.results.json."""
        files = super().write(path)
        if self.detections is not None:
            results = Path(path).with_name(f"{Path(path).stem}.results.json")
            with json_rows(results) as write:
                for row in self.detections:
                    write(row)
            files.append(results)
        return files


def open_evaluation(checkpoint: Checkpoint, settings: EvaluationSettings) -> Measuring:
    """Load what measures COCO's average precision of boxes and masks.

    The data are a folder in COCO's layout, with ``split`` one of its splits, or an annotation file,
    with ``split`` the folder of its images.

    Raises:
        UserError: no such data, or classes that the detector does not know.
    """
    if settings.dataset not in (None, "coco"):
        raise UserError(
            f"got --dataset {settings.dataset!r}, expected coco: detectors have no other"
        )
    detector, checkpoint = load_detector(checkpoint, device=settings.device, dtype=settings.dtype)
    names = checkpoint.classes or []
    source = open_coco(
        settings.data,
        settings.split,
        classes=names,
        reading=reading_of(
            settings.options, masks=bool(detector.options.masks), white=detector.options.white
        ),
    )
    about = {
        "checkpoint": str(checkpoint.path),
        "model": checkpoint.model_name,
        "system": detector.options.system_name,
        "annotations": str(source.annotations),
        "min_size": detector.options.min_size,
        "max_size": detector.options.max_size,
        "batch_size": settings.batch_size,
        **describe_device(str(settings.device)),
    }
    frame = {
        "classes": names,
        "category_ids": list(source.category_ids),
        "masks": bool(detector.options.masks),
        "keep_details": settings.keep_details,
        "about": about,
        "notes": list(source.notes),
    }
    meter = empty_meter(frame)
    pairs: list[list[Any]] = []

    def keep(image: Any, target: Any, detected: Any) -> None:
        if settings.keep_details:
            meter.image_ids.append(source.own_image_id(int(target["image_id"])))
        if settings.keep_picture and len(pairs) < _SHEET:
            pairs.append(_pair(image, target, detected, names))

    return Measuring(
        model=detector,
        loader=eval_batches(
            source,
            batch_size=settings.batch_size,
            collate=collate,
            workers=settings.workers,
            on_error="skip",
            pin_memory=settings.device.type == "cuda",
            takes=settings.takes,
        ),
        meter=meter,
        measure=measure_batches(detector, meter, device=settings.device, on_image=keep),
        frame=frame,
        source=source,
        batch_size=settings.batch_size,
        seen=pairs,
    )


class ImageMeter(DetectionMeter):
    """A meter that knows whose detections it holds.

    Attributes:
        image_ids: of the images, where they were asked for.
    """

    def __init__(self, num_classes: int, *, masks: bool = True):
        super().__init__(num_classes, masks=masks)
        self.image_ids: list[OwnId] = []

    def rows(self) -> Any:
        ids, self.image_ids = self.image_ids, []
        return [ids, *super().rows()]

    def add(self, rows: Any) -> None:
        ids, *others = rows
        self.image_ids += ids
        super().add(others)


def empty_meter(frame: Mapping[str, Any]) -> ImageMeter:
    """A meter for the classes that a frame names."""
    return ImageMeter(len(frame["classes"]), masks=frame["masks"])


def conclude(
    meter: ImageMeter,
    done: EvaluationPass,
    frame: Mapping[str, Any],
    seen: Sequence[list[Any]] = (),
) -> DetectionEvaluation:
    """The figures of what a meter holds."""
    result = result_of(meter, done, frame["classes"])
    detections = None
    if frame["keep_details"]:
        ids = frame["category_ids"]
        each = zip(meter.found, meter.image_ids, strict=True)
        detections = [row for found, image in each for row in coco_results(found, image, ids)]
    return DetectionEvaluation(
        measurement=result,
        figures=figures(result),
        about=frame["about"],
        draw=(lambda path: _draw(list(seen), path)) if seen else None,
        detections=detections,
        notes=tuple(frame["notes"]),
    )


def open_coco(
    data: str | None, split: str | None, *, classes: list[str], reading: Reading | None = None
) -> CocoDetection:
    """Open data to evaluate on, labelled by the classes of a detector.

    Args:
        data: folder, or annotation file.
        split: part of the data, or the folder of the images.
        classes: of the detector.
        reading: what the user says about the data.

    Raises:
        UserError: no data, or classes that the detector does not know.
    """
    if data is None:
        raise UserError("got no data, expected --data with a folder in COCO's layout")
    if data.endswith(".json"):
        annotations, images = Path(data), Path(split) if split else Path(data).parent
    else:
        annotations, images = find_coco(data, split or "val")
    record = read_record(annotations)
    used = set(references(record["annotations"], "category_id"))
    match_classes(Categories(record["categories"], used).names(), classes)
    return CocoDetection(annotations, images, classes=classes, reading=reading)


def _pair(image: Any, target: Any, detected: Any, names: list[str]) -> list[Any]:
    """An image as it is annotated, and as it is seen (objects of half the full score or more)."""
    pixels = (image * 255).round().to(torch.uint8)
    good = detected.scores >= _SCORE
    masks = None
    if detected.masks is not None and bool(good.any()):
        chosen = [decode_mask(detected.masks[i]) for i in torch.where(good)[0].tolist()]
        masks = torch.from_numpy(np.stack(chosen))
    return [
        draw_objects(
            pixels, target["boxes"], target["labels"], names, pixels_NHW=target.get("masks")
        ),
        draw_objects(
            pixels,
            detected.boxes[good],
            detected.labels[good],
            names,
            scores_N=detected.scores[good],
            pixels_NHW=masks,
        ),
    ]


def _draw(pairs: list[list[Any]], path: Path) -> None:
    """Draw pairs of pictures, two pairs side by side."""
    halves = itertools.zip_longest(pairs[::2], pairs[1::2], fillvalue=[])
    save_picture(sheet([[*left, *right] for left, right in halves]), path)
