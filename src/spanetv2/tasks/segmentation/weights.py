"""Segmentation checkpoints: safetensors files that say all that is needed to use them."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from spanetv2.errors import UserError
from spanetv2.models.weights.compare import compare_states
from spanetv2.models.weights.read import Checkpoint, read_checkpoint
from spanetv2.models.weights.save import save_state_dict
from spanetv2.tasks.segmentation.model import HeadOptions, SegmentationModel, create_segmenter

__all__ = ["load_segmenter", "save_segmenter", "segmenter_record", "start_from"]

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
    """What a checkpoint tells about a model.

    Args:
        model: made by ``create_segmenter``.
        classes: class names by index.
        palette: their colours, (red, green, blue) of 0 to 255.
        preprocessing: size, mean and std of images; see ``Preprocessing``.
        inference: how images are shown to it; see ``Inference``.
        extra: further JSON facts, such as what it reached.

    Raises:
        UserError: not as many names as classes, or a model that ``create_segmenter`` did not make.
    """
    if model.head_options is None or "model_name" not in model.backbone_record:
        raise UserError("got a model of unknown make, expected one of create_segmenter")
    if len(classes) != model.num_classes:
        raise UserError(f"got {len(classes)} class names, expected {model.num_classes}")
    facts = {
        "head": model.head_options.to_dict(),
        "palette": None if palette is None else [list(map(int, colour)) for colour in palette],
        "inference": dict(inference or {}),
        **(extra or {}),
    }
    return {
        "task": "segmentation",
        **model.backbone_record,
        "classes": list(classes),
        "preprocessing": None if preprocessing is None else dict(preprocessing),
        "extra": facts,
    }


def save_segmenter(model: SegmentationModel, path: str | os.PathLike[str], **facts: Any) -> None:
    """Write a model's weights and its record.

    Args:
        model: made by ``create_segmenter``.
        path: the file, ending in ``.safetensors``.
        **facts: see ``segmenter_record``.

    Raises:
        UserError: see ``segmenter_record``.
        OSError: the file cannot be written.
    """
    save_state_dict(model.state_dict(), path, segmenter_record(model, **facts))


def load_segmenter(
    source: str | os.PathLike[str] | Checkpoint, *, device: torch.device | str = "cpu"
) -> tuple[SegmentationModel, Checkpoint]:
    """Build the model that a checkpoint describes and load it, ready for inference.

    Args:
        source: a file or run folder, or what ``read_checkpoint`` gave.
        device: where to put the model.

    Returns:
        The model in evaluation mode, and the checkpoint with classes and preprocessing.

    Raises:
        UserError: unreadable, of another task, or damaged.
    """
    checkpoint = source if isinstance(source, Checkpoint) else read_checkpoint(source)
    if checkpoint.task != "segmentation":
        raise UserError(
            f"{checkpoint.path}: weights of a {checkpoint.task} model, expected segmentation"
        )
    if checkpoint.model_name is None or checkpoint.classes is None:
        raise UserError(f"{checkpoint.path}: a record without model or classes; write it again")
    model = create_segmenter(
        checkpoint.model_name,
        num_classes=len(checkpoint.classes),
        head=HeadOptions(**checkpoint.extra.get("head", {})),
        **_tuples(checkpoint.model_kwargs),
    )
    if difference := compare_states(checkpoint.state_dict, model.state_dict()):
        raise UserError(
            f"{checkpoint.path}: damaged, its weights do not fit its record ({difference.first()})"
        )
    model.load_state_dict(checkpoint.state_dict)
    return model.to(device).eval(), checkpoint


def start_from(model: SegmentationModel, checkpoint: Checkpoint) -> list[str]:
    """Start training from another segmentation model: everything that fits is taken.

    Args:
        model: to be trained.
        checkpoint: of a segmentation model with the same backbone.

    Returns:
        Names of the parameters that keep their initial values.

    Raises:
        UserError: the backbones differ.
    """
    difference = compare_states(checkpoint.state_dict, model.state_dict())
    kept = [*difference.missing, *difference.other_shapes]
    if inside := [name for name in kept if name.startswith("backbone.")]:
        raise UserError(
            f"{checkpoint.path}: a model on {checkpoint.model_name}, whose backbone does not fit "
            f"{model.backbone_record.get('model_name')} (first difference: {inside[0]}); give the "
            "same --model.name and image size"
        )
    left_out = {*difference.unexpected, *difference.other_shapes}
    fitting = {k: v for k, v in checkpoint.state_dict.items() if k not in left_out}
    model.load_state_dict(fitting, strict=False)
    if kept:
        _logger.warning(
            "%s: %d parameters of the heads keep their initial values (first: %s)",
            checkpoint.path,
            len(kept),
            kept[0],
        )
    return kept


def _tuples(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in kwargs.items()}
