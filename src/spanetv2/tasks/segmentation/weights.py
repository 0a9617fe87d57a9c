"""Segmentation models on disk: a safetensors file that says what it is."""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from spanetv2.errors import UserError
from spanetv2.models.weights.compare import build_described, compare_states
from spanetv2.models.weights.read import Checkpoint, CheckpointSource, read_checkpoint
from spanetv2.models.weights.save import save_state_dict
from spanetv2.precision import compute_in
from spanetv2.tasks.segmentation.model import HeadOptions, SegmentationModel, create_segmenter
from spanetv2.training.class_heads import moved_rows, rows_of_classes, say_new_head

__all__ = [
    "describe_segmenter",
    "load_segmenter",
    "save_segmenter",
    "segmenter_record",
    "start_from",
]

TASK = "segmentation"
_OF_CLASSES = re.compile(r"(head|auxiliary)\.classifier\.")
_logger = logging.getLogger("spanetv2")


def segmenter_record(
    model: SegmentationModel,
    *,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    inference: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a file tells about a segmentation model, as JSON values.

    Args:
        model: made by ``create_segmenter``.
        classes: class names by index.
        palette: their colours, (red, green, blue) of 0 to 255.
        preprocessing: size, mean and std of images; see ``Preprocessing``.
        inference: how images are shown to it; see ``Inference``.
        extra: further facts to record, such as what it reached; must be JSON.

    Raises:
        UserError: another number of names than classes.
    """
    if len(classes) != model.num_classes:
        raise UserError(f"got {len(classes)} class names, expected {model.num_classes}")
    facts = {
        "head": model.options.to_dict(),
        "palette": None if palette is None else [list(map(int, colour)) for colour in palette],
        "inference": dict(inference or {}),
        **(extra or {}),
    }
    return {
        "task": TASK,
        **model.backbone.record,
        "classes": list(classes),
        "preprocessing": None if preprocessing is None else dict(preprocessing),
        "extra": facts,
    }


def describe_segmenter(model: nn.Module, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a segmentation model from what its file said; None for another network.

    Args:
        model: the network.
        facts: classes, preprocessing and extra, as a ``Checkpoint`` has them.

    Raises:
        UserError: no names of classes, or another number of them.
    """
    if not isinstance(model, SegmentationModel):
        return None
    if facts["classes"] is None:
        raise UserError(f"got no classes, expected the names of {model.num_classes}")
    extra = {k: v for k, v in (facts["extra"] or {}).items() if k != "head"}
    return segmenter_record(
        model,
        classes=facts["classes"],
        palette=extra.pop("palette", None),
        inference=extra.pop("inference", None),
        preprocessing=facts["preprocessing"],
        extra=extra,
    )


def save_segmenter(
    model: SegmentationModel,
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str],
    **facts: Any,
) -> None:
    """Write a segmentation model with all that is needed to use it again, atomically.

    Args:
        model: made by ``create_segmenter``.
        path: the file, ending in ``.safetensors``.
        classes: class names by index.
        **facts: see ``segmenter_record``.

    Raises:
        UserError: another number of names than classes.
        OSError: the file cannot be written.
    """
    record = segmenter_record(model, classes=classes, **facts)
    save_state_dict(model.state_dict(), path, record)


def load_segmenter(
    source: CheckpointSource,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[SegmentationModel, Checkpoint]:
    """Build the segmentation model that a file describes and load it, ready for inference.

    Args:
        source: a file, a run folder, or what ``read_checkpoint`` gave.
        device: where to put it.
        dtype: to compute in; images and scores are float32 all the same.

    Returns:
        The model in evaluation mode, and the checkpoint with classes and preprocessing.

    Raises:
        UserError: unreadable, of another task, or damaged.
    """
    checkpoint = read_checkpoint(source)
    if checkpoint.task != TASK:
        raise UserError(f"{checkpoint.path}: weights of a {checkpoint.task} model, expected {TASK}")
    if checkpoint.model_name is None or checkpoint.classes is None:
        raise UserError(f"{checkpoint.path}: a record without model or classes; write it again")
    build = partial(
        create_segmenter,
        checkpoint.model_name,
        len(checkpoint.classes),
        checkpoint.fact("head", HeadOptions) or HeadOptions(),
        **checkpoint.model_kwargs,
    )
    model = build_described(build, checkpoint.state_dict, where=checkpoint.path)
    if difference := compare_states(checkpoint.state_dict, model.state_dict()):
        raise UserError(
            f"{checkpoint.path}: damaged, its weights do not fit its record; {difference.explain()}"
        )
    model.load_state_dict(checkpoint.state_dict)
    compute_in(model, dtype)
    return model.to(device).eval(), checkpoint


def start_from(
    model: SegmentationModel, checkpoint: Checkpoint, *, classes: Sequence[str] | None = None
) -> list[str]:
    """Start training from another segmentation model: everything that fits is taken.

    What tells classes is taken by their names, or stays as it is where they are others.

    Args:
        model: to be trained.
        checkpoint: of a segmentation model with the same backbone.
        classes: names of the model's classes in order; None takes them for the checkpoint's where
            their numbers agree.

    Returns:
        Names of the parameters that keep their initial values.

    Raises:
        UserError: the backbones differ.
    """
    difference = compare_states(checkpoint.state_dict, model.state_dict())
    if difference.other_types or difference.not_finite:
        raise UserError(f"{checkpoint.path}: {difference.explain()}")
    kept = [*difference.missing, *difference.other_shapes]
    if inside := [name for name in kept if name.startswith("backbone.")]:
        raise UserError(
            f"{checkpoint.path}: a model on {checkpoint.model_name}, whose backbone does not fit "
            f"{model.backbone.name} (first difference: {inside[0]}); give the "
            "same --model.name and image size"
        )
    left_out = {*difference.unexpected, *difference.other_shapes}
    fitting = {k: v for k, v in checkpoint.state_dict.items() if k not in left_out}
    of_classes = [name for name in fitting if _OF_CLASSES.match(name)]
    rows = rows_of_classes(checkpoint.classes, classes)
    if rows is not None:
        same_number = len(rows) == model.num_classes
        fitting |= moved_rows(fitting, of_classes, rows) if same_number else {}
    else:
        say_new_head(checkpoint.path, checkpoint.classes, classes)
        fitting = {k: v for k, v in fitting.items() if k not in of_classes}
        kept += of_classes
    model.load_state_dict(fitting, strict=False)
    if kept and rows is not None:
        _logger.warning(
            "%s: %d parameters of the heads keep their initial values (first: %s)",
            checkpoint.path,
            len(kept),
            kept[0],
        )
    return kept
