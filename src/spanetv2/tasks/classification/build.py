"""The network of a run."""

from typing import Any

from torch import nn

from spanetv2.errors import UserError
from spanetv2.models.factory import create_model
from spanetv2.models.features import set_grad_checkpointing
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights.compare import classifier_prefixes, compare_states
from spanetv2.models.weights.read import Checkpoint, read_checkpoint
from spanetv2.tasks.classification.config import ModelConfig
from spanetv2.training.backbone import backbone_name, variant_options

__all__ = ["build_model"]


def build_model(
    config: ModelConfig,
    *,
    num_classes: int,
    input_size: tuple[int, int, int],
    weights: str | None = None,
) -> nn.Module:
    """Build the network, from weights to fine-tune where given.

    Args:
        config: name and options.
        num_classes: of the data set.
        input_size: channels, height, width.
        weights: file or run folder to start from; a classifier for other classes is left out.

    Raises:
        UserError: no such model or file, an option it does not take, weights that do not fit.
    """
    checkpoint = None if weights is None else read_checkpoint(weights)
    name = backbone_name(config, checkpoint)
    ours = name in VARIANTS
    options: dict[str, Any] = {
        "num_classes": num_classes if config.num_classes is None else config.num_classes,
        "in_chans": input_size[0],
    }
    if config.img_size is not None or ours:
        options["img_size"] = config.img_size or input_size[1:]
    options |= variant_options(config, name)
    if config.pretrained and (ours or checkpoint):
        raise UserError(
            "model.pretrained downloads timm's weights for timm's models; use --weights FILE for "
            "others, and not both"
        )
    if config.pretrained:
        options["pretrained"] = True
    try:
        start = checkpoint if ours else None
        model = create_model(name, start, **options, **config.kwargs)
    except TypeError as error:
        raise UserError(f"model {name}: {error}") from error
    if checkpoint is not None and not ours:
        _load_foreign(model, checkpoint)
    if config.grad_checkpointing:
        set_grad_checkpointing(model, name)
    return model


def _load_foreign(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Load another timm model's weights; only a classifier of another size may be missing."""
    expected = model.state_dict()
    classifier = classifier_prefixes(model)
    state = {
        key: value
        for key, value in checkpoint.state_dict.items()
        if not (
            key.startswith(classifier) and key in expected and expected[key].shape != value.shape
        )
    }
    needed = {k: v for k, v in expected.items() if k in state or not k.startswith(classifier)}
    if difference := compare_states(state, needed):
        raise UserError(
            f"{checkpoint.path}: weights of another model (first differences: {difference.first()})"
        )
    model.load_state_dict(state, strict=False)
