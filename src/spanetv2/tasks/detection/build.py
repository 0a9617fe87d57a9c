"""The detector of a run."""

from typing import Any

from spanetv2.errors import UserError
from spanetv2.models.factory import resolve_name
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights import read_checkpoint
from spanetv2.tasks.detection.config import RunConfig
from spanetv2.tasks.detection.model import Detector, create_detector
from spanetv2.tasks.detection.weights import load_matching
from spanetv2.training.backbone import backbone_name, backbone_options

__all__ = ["build_detector"]


def build_detector(config: RunConfig, num_classes: int) -> Detector:
    """Build the detector, from weights to start from where given.

    Args:
        config: of the run.
        num_classes: of the data set.

    Raises:
        UserError: no such model or file, an option it does not take, weights that do not fit.
    """
    checkpoint = None if config.weights is None else read_checkpoint(config.weights)
    whole = checkpoint is not None and checkpoint.task == "detection"
    name = backbone_name(config.model, checkpoint)
    if checkpoint is not None and not whole and checkpoint.task != "classification":
        raise UserError(
            f"{checkpoint.path}: weights of task {checkpoint.task!r}, expected a classifier (for "
            "its backbone) or a detector"
        )
    options = backbone_options(config.model, name)
    if whole:
        assert checkpoint is not None
        # What the weights are made of; a filter for another image size would not fit.
        origin = checkpoint.model_kwargs
        if resolve_name(checkpoint.model_name or name) != name:
            raise UserError(
                f"{checkpoint.path}: a detector on {checkpoint.model_name}, got model.name={name}"
            )
        options = {**origin, **{k: v for k, v in options.items() if k not in origin}}
    if checkpoint is not None and not whole and name not in VARIANTS:
        raise UserError(
            f"{checkpoint.path}: a classifier's weights start our own backbones only; for {name} "
            "give --model.pretrained true, or a detector's weights"
        )
    backbone = None if whole or checkpoint is None else checkpoint.path
    try:
        detector = create_detector(
            name, num_classes, config.detector, checkpoint=backbone, **options
        )
    except TypeError as error:
        raise UserError(f"model {name}: {error}") from error
    if whole:
        assert checkpoint is not None
        load_matching(detector, checkpoint)
    if config.model.grad_checkpointing:
        network: Any = detector.pyramid.backbone
        network = getattr(network, "model", network)
        if not hasattr(network, "set_grad_checkpointing"):
            raise UserError(f"model.grad_checkpointing: {name} has no activation checkpointing")
        network.set_grad_checkpointing(True)
    return detector
