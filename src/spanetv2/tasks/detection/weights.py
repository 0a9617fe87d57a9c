"""Detectors on disk: a safetensors file that says what it is."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.models.weights import Checkpoint, read_checkpoint, save_state_dict
from spanetv2.tasks.detection.data.ids import OwnId
from spanetv2.tasks.detection.model import Detector, create_detector
from spanetv2.tasks.detection.options import DetectorOptions

__all__ = ["detector_record", "load_detector", "load_matching", "save_detector"]

TASK = "detection"
_FIRST = 5


def detector_record(
    detector: Detector,
    classes: Sequence[str],
    *,
    category_ids: Sequence[OwnId | None] | None = None,
) -> dict[str, Any]:
    """What a file tells about a detector, as JSON values.

    Args:
        detector: made by ``create_detector``.
        classes: class names; label k is the k-th.
        category_ids: the classes' ids in COCO annotations, for results files.

    Raises:
        UserError: another number of names or ids than classes, or a detector whose backbone is not
            known by name.
    """
    for what, given in (("class names", classes), ("category ids", category_ids)):
        if given is not None and len(given) != detector.num_classes:
            raise UserError(
                f"got {len(given)} {what}, expected {detector.num_classes} as the detector has"
            )
    if "name" not in detector.origin:
        raise UserError("got a detector without a backbone name, expected one by create_detector")
    origin = dict(detector.origin)
    return {
        "task": TASK,
        "model_name": origin.pop("name"),
        "model_kwargs": origin,
        "classes": list(classes),
        "preprocessing": {"mean": list(detector.options.mean), "std": list(detector.options.std)},
        "extra": {
            "detector": detector.options.to_dict(),
            "category_ids": None if category_ids is None else list(category_ids),
        },
    }


def save_detector(
    detector: Detector,
    path: str | os.PathLike[str],
    *,
    classes: Sequence[str],
    category_ids: Sequence[OwnId | None] | None = None,
    extra: dict[str, Any] | None = None,
) -> None:
    """Write a detector with all that is needed to use it again, atomically.

    Args:
        detector: made by ``create_detector``.
        path: the file, ending in ``.safetensors``.
        classes: class names; label k is the k-th.
        category_ids: the classes' ids in COCO annotations, for results files.
        extra: further facts to record; must be JSON.

    Raises:
        UserError: names or ids that do not fit.
        OSError: the file cannot be written.
    """
    record = detector_record(detector, classes, category_ids=category_ids)
    record["extra"] |= extra or {}
    save_state_dict(detector.state_dict(), path, record)


def load_detector(
    source: str | os.PathLike[str] | Checkpoint,
    *,
    device: torch.device | str = "cpu",
    **changes: Any,
) -> tuple[Detector, Checkpoint]:
    """Build the detector that a file describes and load it, ready for inference.

    Args:
        source: a file, a run folder, or what ``read_checkpoint`` gave.
        device: where to put it.
        **changes: options of ``DetectorOptions`` to replace, such as ``score_threshold``.

    Returns:
        The detector in evaluation mode, and the checkpoint with its class names.

    Raises:
        UserError: unreadable, or not a detector.
    """
    checkpoint = source if isinstance(source, Checkpoint) else read_checkpoint(source)
    where = checkpoint.path
    if checkpoint.task != TASK:
        raise UserError(f"{where}: weights of task {checkpoint.task!r}, expected a detector")
    settings = checkpoint.extra.get("detector")
    if checkpoint.model_name is None or checkpoint.classes is None or not settings:
        raise UserError(f"{where}: does not say which detector it is; save it with save_detector")
    try:
        options = DetectorOptions(**{**settings, **changes})
    except TypeError as error:
        raise UserError(f"{where}: {error}; was it written by a newer version?") from error
    detector = create_detector(
        checkpoint.model_name, len(checkpoint.classes), options, **checkpoint.model_kwargs
    )
    expected = detector.state_dict()
    missing, wrong = _differences(checkpoint.state_dict, expected)
    if missing or wrong:
        raise UserError(
            f"{where}: the weights do not fit the detector they describe (first differences: "
            f"{', '.join([*missing, *wrong][:_FIRST])})"
        )
    detector.load_state_dict(checkpoint.state_dict)
    return detector.to(device).eval(), checkpoint


def _differences(
    state: dict[str, Tensor], expected: dict[str, Tensor]
) -> tuple[list[str], list[str]]:
    missing = [name for name in expected if name not in state]
    wrong = [
        name
        for name, value in state.items()
        if name not in expected or expected[name].shape != value.shape
    ]
    return missing, wrong


# Layers of the heads whose outputs are classes: these may differ when a detector is trained on.
_OF_CLASSES = ("cls_score", "bbox_pred", "mask_fcn_logits")


def load_matching(detector: nn.Module, checkpoint: Checkpoint) -> list[str]:
    """Start from another detector of the same kind, which may have been trained for other classes.

    Args:
        detector: the new one; loaded in place.
        checkpoint: of a detector.

    Returns:
        Names of what depends on the classes and kept its values because their number differs.

    Raises:
        UserError: it is another kind of detector; the new one is left as it was.
    """
    expected = detector.state_dict()
    state = dict(checkpoint.state_dict)
    kept = [
        name
        for name, value in expected.items()
        if name in state
        and state[name].shape != value.shape
        and name.startswith("roi_heads.")
        and name.split(".")[-2] in _OF_CLASSES
    ]
    state |= {name: expected[name] for name in kept}
    missing, wrong = _differences(state, expected)
    if missing or wrong:
        raise UserError(
            f"{checkpoint.path}: weights of another detector (first differences: "
            f"{', '.join([*missing, *wrong][:_FIRST])})"
        )
    detector.load_state_dict(state)
    return kept
