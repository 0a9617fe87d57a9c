"""Measuring a classifier's checkpoint on a data set of the user's."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from spanetv2.data.classes import class_titles, match_classes, model_classes
from spanetv2.data.preprocessing import eval_transform
from spanetv2.environment import describe_device
from spanetv2.errors import UserError
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.classification.data.holdout import HeldOut, held_out_part
from spanetv2.tasks.classification.data.loader import eval_loader
from spanetv2.tasks.classification.data.sources import (
    DatasetSpec,
    ImageSource,
    StreamSource,
    open_dataset,
)
from spanetv2.tasks.classification.evaluate import (
    EvaluationResult,
    measure_batches,
    result_of,
)
from spanetv2.tasks.classification.metrics import ClassificationMeter
from spanetv2.tasks.classification.several import (
    LabelMeter,
    label_result_of,
    measure_label_batches,
)
from spanetv2.tasks.classification.weights import gives_several, load_classifier
from spanetv2.tasks.evaluation import (
    Evaluation,
    EvaluationPass,
    EvaluationSettings,
    Measuring,
)

__all__ = ["conclude", "draw_confusions", "empty_meter", "open_evaluation"]


def open_evaluation(checkpoint: Checkpoint, settings: EvaluationSettings) -> Measuring:
    """Load what measures top-1, top-5, loss, figures per class and confusions.

    Of weights for several labels an image: mean average precision, F1, loss. The data's classes are
    matched with the checkpoint's by name, so they may be a part of them.

    Raises:
        UserError: no such data, or classes that the model does not know.
    """
    model, outputs, preprocessing = load_classifier(
        checkpoint, device=settings.device, dtype=settings.dtype
    )
    several = gives_several(checkpoint)
    spec = DatasetSpec(
        name=settings.dataset or "folder",
        root=settings.data,
        split=settings.split or "val",
        multi_label=several,
        white=preprocessing.white,
        **settings.options,
    )
    held_out = checkpoint.fact("held_out", HeldOut) if settings.split is None else None
    source, names, mapping = _open(spec, checkpoint.classes, outputs, held_out)
    source.transform = eval_transform(preprocessing)
    about = {
        "checkpoint": str(checkpoint.path),
        "model": checkpoint.model_name,
        "dataset": spec.name,
        "data": spec.root,
        "split": spec.split,
        "preprocessing": preprocessing.to_dict(),
        "batch_size": settings.batch_size,
        **describe_device(str(settings.device)),
    }
    frame = {
        "classes": names,
        "several": several,
        "about": about,
        "notes": [f"measured on {source.split_note}"] if source.split_note else [],
    }
    meter = empty_meter(frame, device=settings.device)
    ways: Any = {"mapping": mapping, "device": settings.device}
    return Measuring(
        model=model,
        loader=eval_loader(
            source,
            batch_size=settings.batch_size,
            workers=settings.workers,
            on_error="skip",
            pin_memory=settings.device.type == "cuda",
            takes=settings.takes,
        ),
        meter=meter,
        measure=measure_label_batches(model, meter, **ways)
        if isinstance(meter, LabelMeter)
        else measure_batches(model, meter, **ways),
        frame=frame,
        late=lambda: {"skipped": getattr(source, "skipped", 0)},
        source=source,
        batch_size=settings.batch_size,
    )


def empty_meter(
    frame: Mapping[str, Any], *, device: torch.device | str = "cpu"
) -> ClassificationMeter | LabelMeter:
    """A meter for the outputs that a frame names."""
    if frame["several"]:
        return LabelMeter(len(frame["classes"]))
    return ClassificationMeter(len(frame["classes"]), device=device)


def conclude(
    meter: ClassificationMeter | LabelMeter, done: EvaluationPass, frame: Mapping[str, Any]
) -> Evaluation:
    """The figures of what a meter holds."""
    done = dataclasses.replace(done, failed=done.failed + frame["skipped"])
    draw = None
    if isinstance(meter, LabelMeter):
        result, names = label_result_of(meter, done, frame["classes"]), ("map", "f1", "loss")
    else:
        result, names = result_of(meter, done, frame["classes"]), ("top1", "top5", "loss")
        if result.confusion is not None:
            draw = functools.partial(draw_confusions, result)
    return Evaluation(
        measurement=result,
        figures={name: getattr(result, name) for name in names},
        about=frame["about"],
        notes=tuple(frame["notes"]),
        draw=draw,
    )


def _open(
    spec: DatasetSpec,
    names: list[str] | None,
    outputs: int,
    held_out: HeldOut | None = None,
) -> tuple[ImageSource | StreamSource, list[str], list[int]]:
    """The data, the names of the model's outputs, and the output that each label means."""
    nameless = spec.name.partition("/")[0] in ("wds", "hfids") and spec.class_file is None
    if nameless:
        # Their labels are taken for the model's outputs.
        spec = dataclasses.replace(spec, classes=model_classes(names, outputs))
    source = _held_out(spec, held_out) or open_dataset(spec, on_error="skip")
    return source, *match_classes(source.classes, names, outputs)


def _held_out(spec: DatasetSpec, record: HeldOut | None) -> ImageSource | None:
    """The images that the run held out of this data set, where it did."""
    if record is None:
        return None
    try:
        train = open_dataset(dataclasses.replace(spec, split="train"), on_error="skip")
    except UserError:
        return None  # another data set, without training images
    return held_out_part(train, record) if isinstance(train, ImageSource) else None


def draw_confusions(result: EvaluationResult, path: Path) -> None:
    """Draw the confusion matrix of an evaluation into a PNG."""
    from spanetv2.tasks.classification.picture import confusion_matrix

    assert result.confusion is not None
    titles = class_titles(result.classes)
    # Classes that neither occur nor are predicted would only make the others smaller.
    used = [i for i, row in enumerate(result.per_class) if row.images or row.predicted]
    confusion_matrix(result.confusion[used][:, used].numpy(), [titles[i] for i in used], path)
