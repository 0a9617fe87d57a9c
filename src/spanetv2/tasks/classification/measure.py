"""Measuring a classifier's checkpoint on a data set of the user's."""

import dataclasses
import functools
from pathlib import Path

from spanetv2.data.classes import class_titles, match_classes, model_classes
from spanetv2.data.preprocessing import eval_transform
from spanetv2.environment import describe_device
from spanetv2.errors import UserError
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.classification import evaluate as measuring
from spanetv2.tasks.classification.data.holdout import HeldOut, held_out_part
from spanetv2.tasks.classification.data.loader import eval_loader
from spanetv2.tasks.classification.data.sources import (
    DatasetSpec,
    ImageSource,
    StreamSource,
    open_dataset,
)
from spanetv2.tasks.classification.several import evaluate_labels
from spanetv2.tasks.classification.weights import gives_several, load_classifier
from spanetv2.tasks.evaluation import Evaluation, EvaluationSettings

__all__ = ["draw_confusions", "measure_checkpoint"]


def measure_checkpoint(
    checkpoint: Checkpoint, settings: EvaluationSettings, *, batch_size: int
) -> Evaluation:
    """Measure top-1, top-5, loss, figures per class and confusions.

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
    loader = eval_loader(
        source,
        batch_size=batch_size,
        workers=settings.workers,
        on_error="skip",
        pin_memory=settings.device.type == "cuda",
    )
    measured = evaluate_labels if several else measuring.evaluate
    result = measured(
        model,
        loader,
        classes=names,
        mapping=mapping,
        device=settings.device,
        progress=settings.progress,
    )
    result = dataclasses.replace(result, failed=result.failed + getattr(source, "skipped", 0))
    about = {
        "checkpoint": str(checkpoint.path),
        "model": checkpoint.model_name,
        "dataset": spec.name,
        "data": spec.root,
        "split": spec.split,
        "preprocessing": preprocessing.to_dict(),
        "batch_size": batch_size,
        **describe_device(str(settings.device)),
    }
    names_of = ("map", "f1", "loss") if several else ("top1", "top5", "loss")
    draw = None
    if isinstance(result, measuring.EvaluationResult) and result.confusion is not None:
        draw = functools.partial(draw_confusions, result)
    return Evaluation(
        measurement=result,
        figures={name: getattr(result, name) for name in names_of},
        about=about,
        notes=(f"measured on {source.split_note}",) if source.split_note else (),
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


def draw_confusions(result: measuring.EvaluationResult, path: Path) -> None:
    """Draw the confusion matrix of an evaluation into a PNG."""
    from spanetv2.tasks.classification.picture import confusion_matrix

    assert result.confusion is not None
    titles = class_titles(result.classes)
    # Classes that neither occur nor are predicted would only make the others smaller.
    used = [i for i, row in enumerate(result.per_class) if row.images or row.predicted]
    confusion_matrix(result.confusion[used][:, used].numpy(), [titles[i] for i in used], path)
