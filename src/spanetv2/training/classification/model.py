"""The network of a run."""

from pathlib import Path
from typing import Any

from torch import nn

from spanetv2.errors import UserError
from spanetv2.models.factory import create_model, resolve_name
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights.describe import describe
from spanetv2.models.weights.read import Checkpoint, read_checkpoint
from spanetv2.training.classification.config import ModelConfig

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
    name = _name(config, weights)
    ours = name in VARIANTS
    options: dict[str, Any] = {
        "num_classes": num_classes if config.num_classes is None else config.num_classes,
        "in_chans": input_size[0],
    }
    if config.img_size is not None or ours:
        options["img_size"] = config.img_size or input_size[1:]
    if config.drop_path is not None:
        options["drop_path_rate"] = config.drop_path
    for key in ("stem_stride", "head_order", "gate"):
        value = getattr(config, key)
        if value is not None and not ours:
            raise UserError(
                f"model.{key} is an option of our own models, {name} has none; give "
                f"--model.{key} null"
            )
        if value is not None:
            options[key] = value
    if config.pretrained and (ours or weights):
        raise UserError(
            "model.pretrained downloads timm's weights for timm's models; use --weights FILE for "
            "others, and not both"
        )
    if config.pretrained:
        options["pretrained"] = True
    try:
        if weights is not None and ours:
            model = create_model(name, weights, **options, **config.kwargs)
        else:
            model = create_model(name, **options, **config.kwargs)
    except TypeError as error:
        raise UserError(f"model {name}: {error}") from error
    if weights is not None and not ours:
        _load_foreign(model, read_checkpoint(weights))
    if config.grad_checkpointing:
        if not hasattr(model, "set_grad_checkpointing"):
            raise UserError(f"model.grad_checkpointing: {name} has no activation checkpointing")
        model.set_grad_checkpointing(True)  # pyright: ignore[reportCallIssue]
    return model


def _name(config: ModelConfig, weights: str | None) -> str:
    if config.name is not None:
        return resolve_name(config.name)
    if weights is None:
        raise UserError("got no model, expected --model.name (see `spanetv2 models`)")
    checkpoint = read_checkpoint(weights)
    name = checkpoint.model_name
    if name is None and checkpoint.source != "other":
        name = describe(checkpoint.state_dict).variant
    if name is None:
        raise UserError(f"{weights} does not tell which model it is for; give --model.name")
    return resolve_name(name)


def _load_foreign(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Load another timm model's weights; only a classifier of another size may be missing."""
    expected = model.state_dict()
    prefix = tuple(_classifier_names(model))
    state = {
        key: value
        for key, value in checkpoint.state_dict.items()
        if not (key.startswith(prefix) and key in expected and expected[key].shape != value.shape)
    }
    wrong = [k for k, v in state.items() if k not in expected or expected[k].shape != v.shape]
    missing = [k for k in expected if k not in state and not k.startswith(prefix)]
    if wrong or missing:
        raise UserError(
            f"{Path(checkpoint.path)}: weights of another model (first differences: "
            f"{', '.join([*wrong, *missing][:5])})"
        )
    model.load_state_dict(state, strict=False)


def _classifier_names(model: nn.Module) -> list[str]:
    names = getattr(model, "pretrained_cfg", {}).get("classifier") or ()
    return [f"{name}." for name in ((names,) if isinstance(names, str) else names)]
