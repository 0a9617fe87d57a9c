"""The segmentation model of a run."""

from spanetv2.models.weights import read_checkpoint
from spanetv2.tasks.segmentation.config import RunConfig
from spanetv2.tasks.segmentation.model import SegmentationModel, create_segmenter
from spanetv2.tasks.segmentation.weights import TASK, start_from
from spanetv2.training.backbone import backbone_name, backbone_options, check_start

__all__ = ["build_segmenter"]


def build_segmenter(config: RunConfig, num_classes: int) -> SegmentationModel:
    """Build the model, from weights to start from where given.

    Args:
        config: of the run.
        num_classes: of the data set.

    Raises:
        UserError: no such model or file, an option it does not take, weights that do not fit.
    """
    checkpoint = None if config.weights is None else read_checkpoint(config.weights)
    whole = checkpoint if check_start(checkpoint, TASK) else None
    name = backbone_name(config.model, checkpoint)
    options = {"in_chans": config.preprocessing.channels, **backbone_options(config.model, name)}
    if whole is not None:
        # What the weights are made of; filters for another image size would not fit.
        options |= whole.model_kwargs
    model = create_segmenter(
        name,
        num_classes,
        config.head,
        checkpoint=checkpoint if whole is None else None,
        **options,
    )
    if whole is not None:
        start_from(model, whole)
    if config.model.grad_checkpointing:
        model.backbone.set_grad_checkpointing()
    return model
