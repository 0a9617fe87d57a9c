"""Measuring a detector's checkpoint on a data set of the user's."""

import dataclasses
import itertools
import os
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
from spanetv2.tasks.detection.data.layout import find_coco
from spanetv2.tasks.detection.data.reading import Reading, reading_of
from spanetv2.tasks.detection.data.record import Categories, read_record, references
from spanetv2.tasks.detection.evaluate import evaluate, figures, match_classes
from spanetv2.tasks.detection.masks import decode_mask
from spanetv2.tasks.detection.picture import draw_objects, sheet
from spanetv2.tasks.detection.results import coco_results
from spanetv2.tasks.detection.weights import load_detector
from spanetv2.tasks.evaluation import Evaluation, EvaluationSettings

__all__ = ["DetectionEvaluation", "measure_checkpoint", "open_coco"]

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


def measure_checkpoint(
    checkpoint: Checkpoint, settings: EvaluationSettings, *, batch_size: int
) -> DetectionEvaluation:
    """Measure COCO's average precision of boxes and masks.

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
    loader = eval_batches(
        source,
        batch_size=batch_size,
        collate=collate,
        workers=settings.workers,
        on_error="skip",
        pin_memory=settings.device.type == "cuda",
    )
    pairs: list[list[Any]] = []
    detections: list[dict[str, Any]] = []

    def keep(image: Any, target: Any, detected: Any) -> None:
        if settings.keep_details:
            image_id = source.own_image_id(int(target["image_id"]))
            detections.extend(coco_results(detected, image_id, source.category_ids))
        if settings.keep_picture and len(pairs) < _SHEET:
            pairs.append(_pair(image, target, detected, names))

    result = evaluate(
        detector,
        loader,
        classes=names,
        device=settings.device,
        progress=settings.progress,
        on_image=keep,
    )
    about = {
        "checkpoint": str(checkpoint.path),
        "model": checkpoint.model_name,
        "system": detector.options.system_name,
        "annotations": str(source.annotations),
        "min_size": detector.options.min_size,
        "max_size": detector.options.max_size,
        "batch_size": batch_size,
        **describe_device(str(settings.device)),
    }
    return DetectionEvaluation(
        measurement=result,
        figures=figures(result),
        about=about,
        draw=(lambda path: _draw(pairs, path)) if pairs else None,
        detections=detections if settings.keep_details else None,
        notes=tuple(source.notes),
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
