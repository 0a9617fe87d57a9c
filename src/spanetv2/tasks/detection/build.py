"""The detector of a run."""

from spanetv2.errors import UserError
from spanetv2.models.factory import resolve_name
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights import read_checkpoint
from spanetv2.tasks.detection.config import RunConfig
from spanetv2.tasks.detection.model import Detector, create_detector
from spanetv2.tasks.detection.weights import TASK, start_from
from spanetv2.training.backbone import backbone_name, backbone_options, check_start

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
    whole = checkpoint if check_start(checkpoint, TASK) else None
    name = backbone_name(config.model, checkpoint)
    options = backbone_options(config.model, name)
    if whole is not None:
        if resolve_name(whole.model_name or name) != name:
            raise UserError(
                f"{whole.path}: a detector on {whole.model_name}, got model.name={name}"
            )
        # What the weights are made of; a filter for another image size would not fit.
        options |= whole.model_kwargs
    elif checkpoint is not None and name not in VARIANTS:
        raise UserError(
            f"{checkpoint.path}: a classifier's weights start our own backbones only; for {name} "
            "give --model.pretrained true, or a detector's weights"
        )
    model = create_detector(
        name,
        num_classes,
        config.detector,
        checkpoint=checkpoint if whole is None else None,
        **options,
    )
    if whole is not None:
        start_from(model, whole)
    if config.model.grad_checkpointing:
        model.pyramid.backbone.set_grad_checkpointing()
    return model
