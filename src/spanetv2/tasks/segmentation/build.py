"""The segmentation model of a run, and how its learning rate falls with depth."""

from collections.abc import Callable

from spanetv2.errors import UserError
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights import read_checkpoint
from spanetv2.tasks.segmentation.config import RunConfig
from spanetv2.tasks.segmentation.model import SegmentationModel, create_segmenter
from spanetv2.tasks.segmentation.weights import TASK, start_from
from spanetv2.training.backbone import backbone_name, backbone_options, check_start

__all__ = ["build_segmenter", "stage_scale"]

# Layers that the published decay counts, by the number of blocks: S18's 7, S36's 11.
_LAYERS = {True: 11, False: 7}
_DEEP = 18


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


def stage_scale(name: str, decay: float) -> Callable[[str], float]:
    """Factors of the learning rate by parameter name: smaller for earlier stages.

    The stem and the downsampling layers have id 0, stage i (from 1) has i, everything else (norms
    of the maps, heads) has n + 1; the factor is ``decay ** (n + 1 - id)`` with n = 7, or 11 for the
    variants of 36 blocks.

    Args:
        name: of the backbone.
        decay: factor between neighbouring ids.

    Raises:
        UserError: not one of our backbones.

    Source: SPANetV2's UPerNet recipe.

    Example:
        >>> scale = stage_scale("spanetv2_s18_pure", 0.5)
        >>> scale("backbone.model.stages.3.blocks.0.norm1.weight"), scale("head.fusion.0.weight")
        (0.0625, 1.0)
    """
    if name not in VARIANTS:
        raise UserError(
            f"optimizer.layer_decay is known for our own backbones only, got {name}; give "
            "--optimizer.layer_decay null"
        )
    last = _LAYERS[sum(VARIANTS[name].depths) > _DEEP] + 1

    def scale(parameter: str) -> float:
        parts = parameter.removeprefix("backbone.").removeprefix("model.").split(".")
        if not parameter.startswith("backbone."):
            layer = last
        elif parts[0] == "stem" or "downsample" in parts:
            layer = 0
        elif parts[0] == "stages":
            layer = int(parts[1]) + 1
        else:
            layer = last
        return decay ** (last - layer)

    return scale
