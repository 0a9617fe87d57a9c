"""Measuring a segmentation checkpoint on a data set of the user's."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from spanetv2.data.loader import eval_batches
from spanetv2.environment import describe_device
from spanetv2.errors import UserError
from spanetv2.models.weights.images import say_assumed
from spanetv2.models.weights.read import Checkpoint
from spanetv2.schema import check_value
from spanetv2.tasks.evaluation import (
    Evaluation,
    EvaluationPass,
    EvaluationSettings,
    Measuring,
)
from spanetv2.tasks.segmentation.data.check import settle_orientation
from spanetv2.tasks.segmentation.data.classes import Colour, distinct_colours, match_classes
from spanetv2.tasks.segmentation.data.encoding import mask_values_of
from spanetv2.tasks.segmentation.data.folder import DATASETS, DatasetSpec, open_dataset
from spanetv2.tasks.segmentation.data.transforms import (
    EvalTransform,
    Preprocessing,
    collate_views,
)
from spanetv2.tasks.segmentation.evaluate import (
    EvaluationResult,
    Example,
    measure_batches,
    result_of,
)
from spanetv2.tasks.segmentation.inference import Inference
from spanetv2.tasks.segmentation.metrics import SegmentationMeter
from spanetv2.tasks.segmentation.weights import load_segmenter

__all__ = [
    "conclude",
    "open_evaluation",
    "recorded_data",
    "recorded_inference",
    "recorded_palette",
    "recorded_preprocessing",
]

_SHEET = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Reading:
    """What a file records of how masks are read; None is as by default."""

    mask_values: int | list[int] | None = None
    masks: Literal["values", "colours"] | None = None
    mask_suffix: str | None = None
    orientation: Literal["shown", "stored"] | None = None


def open_evaluation(checkpoint: Checkpoint, settings: EvaluationSettings) -> Measuring:
    """Load what measures mIoU, IoU per class and pixel accuracy.

    The data's classes are matched with the model's by name. Windows, scales and mirror images are
    the checkpoint's unless the options give others.

    Raises:
        UserError: no such data, or classes that the model does not know.
    """
    options = dict(settings.options)
    mask_values = options.pop("mask_values", None)
    max_pixels = options.pop("max_pixels", None)
    inference = recorded_inference(checkpoint, **options)
    preprocessing = recorded_preprocessing(checkpoint)
    spec = recorded_data(
        checkpoint, settings.data, settings.dataset, settings.split, mask_values=mask_values
    )
    spec = dataclasses.replace(spec, max_pixels=max_pixels)
    source = open_dataset(spec, EvalTransform(preprocessing, inference.scales))
    source.white = preprocessing.white
    turned, _ = settle_orientation(source)
    model, checkpoint = load_segmenter(checkpoint, device=settings.device, dtype=settings.dtype)
    classes = checkpoint.classes or []
    about = {
        "checkpoint": str(checkpoint.path),
        "model": checkpoint.model_name,
        "head": checkpoint.extra.get("head"),
        "dataset": spec.name,
        "data": settings.data,
        "split": settings.split,
        "preprocessing": preprocessing.to_dict(),
        "inference": inference.to_dict(),
        **describe_device(str(settings.device)),
    }
    meter = SegmentationMeter(len(classes), device=settings.device)
    seen: list[Any] = []
    return Measuring(
        model=model,
        loader=eval_batches(
            source,
            batch_size=settings.batch_size,
            collate=collate_views,
            workers=settings.workers,
            on_error="skip",
            pin_memory=settings.device.type == "cuda",
            takes=settings.takes,
        ),
        meter=meter,
        measure=measure_batches(
            model,
            meter,
            preprocessing=preprocessing,
            inference=inference,
            mapping=match_classes(source.classes, classes),
            device=settings.device,
            kept=seen,
            examples=_SHEET if settings.keep_picture else 0,
        ),
        frame={
            "classes": classes,
            "palette": recorded_palette(checkpoint),
            "about": about,
            "notes": [*filter(None, (turned.remark(source.orientation), *source.remarks))],
        },
        source=source,
        batch_size=settings.batch_size,
        seen=seen,
    )


def conclude(
    meter: SegmentationMeter,
    done: EvaluationPass,
    frame: Mapping[str, Any],
    seen: Sequence[Example] = (),
) -> Evaluation:
    """The figures of what a meter holds."""
    result = result_of(meter, done, frame["classes"], seen)
    return Evaluation(
        measurement=result,
        figures={
            "miou": result.miou,
            "pixel_accuracy": result.pixel_accuracy,
            "mean_accuracy": result.mean_accuracy,
        },
        about=frame["about"],
        notes=tuple(frame["notes"]),
        draw=(lambda path: _draw(result, frame["palette"], path)) if seen else None,
    )


def recorded_data(
    checkpoint: Checkpoint,
    root: str | None,
    dataset: str | None,
    split: str | None,
    *,
    mask_values: str | None = None,
) -> DatasetSpec:
    """Which data to open for a checkpoint: of the kind, and read as, it was trained on.

    Args:
        checkpoint: of a segmenter.
        root: the folder of the data.
        dataset: their kind; None is the checkpoint's.
        split: part of the data.
        mask_values: the value of each class in a mask, as the command line gives them.
    """
    trained_on = str(checkpoint.extra.get("dataset") or "ade20k")
    name = dataset or (trained_on if trained_on in DATASETS else "ade20k")
    recorded = checkpoint.fact("reading", _Reading) if name == trained_on else None
    reading = {k: v for k, v in vars(recorded or _Reading()).items() if v is not None}
    if mask_values is not None:
        reading = {**reading, "mask_values": mask_values_of(mask_values)}
    return DatasetSpec(
        name=name,  # pyright: ignore[reportArgumentType] - checked by open_dataset
        root=root,
        split=split,
        **reading,
    )


def recorded_preprocessing(checkpoint: Checkpoint) -> Preprocessing:
    """How a checkpoint says that its images are made; what it does not say is assumed, and said.

    Raises:
        UserError: a record of a newer version, or values out of range.
    """
    recorded = dict(checkpoint.preprocessing or {})
    # the network's own, not an assumption
    recorded.setdefault("channels", checkpoint.model_kwargs.get("in_chans", 3))
    try:
        preprocessing = Preprocessing.from_dict(recorded)
    except UserError as error:
        raise UserError(f"{checkpoint.path}: {error}") from None
    missing = {k: v for k, v in preprocessing.to_dict().items() if k not in recorded}
    if missing:
        say_assumed(checkpoint, missing)
    return preprocessing


def recorded_inference(
    checkpoint: Checkpoint,
    *,
    window: int | None = None,
    stride: int | None = None,
    scales: list[float] | None = None,
    flip: bool | None = None,
) -> Inference:
    """How a checkpoint says that images are shown to it, with what is given in its place.

    Raises:
        UserError: a record of a newer version, or values out of range.
    """
    inference = checkpoint.fact("inference", Inference) or Inference()
    changes: dict[str, Any] = {}
    if window is not None:
        changes |= {"window": window, "stride": stride}
    elif stride is not None:
        changes["stride"] = stride
    if scales:
        changes["scales"] = tuple(scales)
    if flip is not None:
        changes["flip"] = flip
    return dataclasses.replace(inference, **changes)


def recorded_palette(checkpoint: Checkpoint) -> list[Colour]:
    """The colours of a checkpoint's classes; distinct ones where it records none."""
    recorded = checkpoint.extra.get("palette")
    if recorded is None:
        return distinct_colours(len(checkpoint.classes or []))
    try:
        check_value("palette in its record", recorded, list[tuple[int, int, int]])
    except UserError as error:
        raise UserError(f"{checkpoint.path}: {error}") from None
    sound = all(0 <= value <= 255 for colour in recorded for value in colour)
    if not sound or len(recorded) != len(checkpoint.classes or []):
        raise UserError(
            f"{checkpoint.path}: the palette in its record is no colour of 0 to 255 for each of "
            f"{len(checkpoint.classes or [])} classes"
        )
    return [(r, g, b) for r, g, b in recorded]


def _draw(result: EvaluationResult, palette: list[Colour], path: Path) -> None:
    from spanetv2.tasks.segmentation.picture import sheet

    rows = []
    for example in result.examples:
        pixels = np.ascontiguousarray(example.image.permute(1, 2, 0).cpu().numpy())
        image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        rows.append((image, example.truth.numpy(), example.predicted.numpy()))
    sheet(rows, result.classes, palette, path)
