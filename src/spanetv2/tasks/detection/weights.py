"""Detectors on disk: a safetensors file that says what it is."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from spanetv2.errors import UserError
from spanetv2.models.weights import (
    Checkpoint,
    CheckpointSource,
    read_checkpoint,
    save_state_dict,
)
from spanetv2.models.weights.compare import build_described, compare_states
from spanetv2.precision import compute_in
from spanetv2.tasks.detection.data.ids import OwnId, id_key
from spanetv2.tasks.detection.model import Detector, create_detector
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.training.class_heads import moved_rows, rows_of_classes, say_new_head

__all__ = [
    "category_ids",
    "describe_detector",
    "detector_record",
    "load_detector",
    "save_detector",
    "start_from",
]

TASK = "detection"


def detector_record(
    model: Detector,
    *,
    classes: Sequence[str],
    category_ids: Sequence[OwnId | None] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What a file tells about a detector, as JSON values.

    Args:
        model: made by ``create_detector``.
        classes: class names; label k is the k-th.
        category_ids: the classes' ids in COCO annotations, for results files.
        extra: further facts to record, such as what it reached; must be JSON.

    Raises:
        UserError: another number of names or ids than classes.
    """
    for what, values in (("class names", classes), ("category ids", category_ids)):
        if values is not None and len(values) != model.num_classes:
            raise UserError(
                f"got {len(values)} {what}, expected {model.num_classes} as the detector has"
            )
    facts = {
        "detector": model.options.to_dict(),
        "category_ids": None if category_ids is None else list(category_ids),
        **(extra or {}),
    }
    return {
        "task": TASK,
        **model.pyramid.backbone.record,
        "classes": list(classes),
        "preprocessing": {"mean": list(model.options.mean), "std": list(model.options.std)},
        "extra": facts,
    }


def describe_detector(model: nn.Module, facts: Mapping[str, Any]) -> dict[str, Any] | None:
    """The record of a detector from what its file said; None for another network.

    Args:
        model: the network; mean and std of images are its own.
        facts: classes and extra, as a ``Checkpoint`` has them.

    Raises:
        UserError: no names of classes, or another number of them.
    """
    if not isinstance(model, Detector):
        return None
    if facts["classes"] is None:
        raise UserError(f"got no classes, expected the names of {model.num_classes}")
    extra = {k: v for k, v in (facts["extra"] or {}).items() if k != "detector"}
    ids = extra.pop("category_ids", None)
    return detector_record(model, classes=facts["classes"], category_ids=ids, extra=extra)


def save_detector(
    model: Detector,
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str],
    **facts: Any,
) -> None:
    """Write a detector with all that is needed to use it again, atomically.

    Args:
        model: made by ``create_detector``.
        path: the file, ending in ``.safetensors``.
        classes: class names; label k is the k-th.
        **facts: see ``detector_record``.

    Raises:
        UserError: another number of names or ids than classes.
        OSError: the file cannot be written.
    """
    record = detector_record(model, classes=classes, **facts)
    save_state_dict(model.state_dict(), path, record)


def load_detector(
    source: CheckpointSource,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    **changes: Any,
) -> tuple[Detector, Checkpoint]:
    """Build the detector that a file describes and load it, ready for inference.

    Args:
        source: a file, a run folder, or what ``read_checkpoint`` gave.
        device: where to put it.
        dtype: its layers compute in; boxes, scores and masks are float32 all the same.
        **changes: options of ``DetectorOptions`` to replace, such as ``score_threshold``.

    Returns:
        The detector in evaluation mode, and the checkpoint with its class names.

    Raises:
        UserError: unreadable, or not a detector.
    """
    checkpoint = read_checkpoint(source)
    where = checkpoint.path
    if checkpoint.task != TASK:
        raise UserError(f"{where}: weights of task {checkpoint.task!r}, expected a detector")
    options = checkpoint.fact("detector", DetectorOptions)
    if checkpoint.model_name is None or checkpoint.classes is None or options is None:
        raise UserError(f"{where}: does not say which detector it is; save it with save_detector")
    build = partial(
        create_detector,
        checkpoint.model_name,
        len(checkpoint.classes),
        dataclasses.replace(options, **changes),
        **checkpoint.model_kwargs,
    )
    detector = build_described(build, checkpoint.state_dict, where=where)
    if difference := compare_states(checkpoint.state_dict, detector.state_dict()):
        raise UserError(
            f"{where}: the weights do not fit the detector they describe; {difference.explain()}"
        )
    detector.load_state_dict(checkpoint.state_dict)
    for part in detector.layers():
        compute_in(part, dtype)
    return detector.to(device).eval(), checkpoint


# Layers of the heads whose outputs are classes: these may differ when a detector is trained on.
_OF_CLASSES = ("cls_score", "bbox_pred", "mask_fcn_logits")


def category_ids(checkpoint: Checkpoint) -> list[OwnId]:
    """The ids of a detector's classes in COCO annotations; counted from 1 where none is recorded.

    Raises:
        UserError: something else than an id for each class.
    """
    names = checkpoint.classes or []
    recorded = checkpoint.extra.get("category_ids")
    if recorded is None:
        return list(range(1, len(names) + 1))
    whole = isinstance(recorded, list) and len(recorded) == len(names)
    if not whole or any(own is not None and id_key(own) is None for own in recorded):
        raise UserError(
            f"{checkpoint.path}: category_ids in its record are no list of {len(names)} ids"
        )
    return [k if own is None else own for k, own in enumerate(recorded, start=1)]


def start_from(
    model: Detector, checkpoint: Checkpoint, *, classes: Sequence[str] | None = None
) -> list[str]:
    """Start training from another detector, which may have been trained for other classes.

    What tells classes is taken by their names, or stays as it is where they are others.

    Args:
        model: to be trained; loaded in place.
        checkpoint: of a detector of the same kind.
        classes: names of the model's classes in order; None takes them for the checkpoint's where
            their numbers agree.

    Returns:
        Names of what kept its values: what depends on the classes where these are others, and mask
        heads where the other has none.

    Raises:
        UserError: it is another kind of detector; the model is left as it was.
    """
    expected = model.state_dict()
    state = dict(checkpoint.state_dict)
    if not model.options.masks:  # it learns from boxes alone
        state = {name: value for name, value in state.items() if not _is_of_masks(name)}
    no_masks = not any(map(_is_of_masks, state))
    without = [name for name in expected if no_masks and _is_of_masks(name)]
    of_classes = [
        name
        for name in expected
        if name in state and name.startswith("roi_heads.") and name.split(".")[-2] in _OF_CLASSES
    ]
    rows = rows_of_classes(checkpoint.classes, classes)
    others = [n for n in of_classes if rows is None or state[n].shape != expected[n].shape]
    if rows is not None and not others:
        state |= moved_rows(state, of_classes, rows, before=1)
    kept = [*without, *others]
    state |= {name: expected[name] for name in kept}
    if difference := compare_states(state, expected):
        raise UserError(f"{checkpoint.path}: weights of another detector; {difference.explain()}")
    model.load_state_dict(state)
    if others:
        say_new_head(checkpoint.path, checkpoint.classes, classes)
    return kept


def _is_of_masks(name: str) -> bool:
    """Whether a tensor belongs to a mask head."""
    return name.startswith("roi_heads.") and any(
        part in ("mask_head", "mask_predictor") for part in name.split(".")
    )
