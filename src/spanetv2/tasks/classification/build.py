"""The network of a run."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import timm
import torch
from torch import nn

from spanetv2.errors import UserError
from spanetv2.models.factory import create_model
from spanetv2.models.features import set_grad_checkpointing
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights.compare import classifier_prefixes, compare_states
from spanetv2.models.weights.read import Checkpoint, read_checkpoint
from spanetv2.tasks.classification.config import ModelConfig
from spanetv2.training.backbone import backbone_name, check_pretrained, variant_options
from spanetv2.training.class_heads import moved_rows, rows_of_classes, say_new_head

__all__ = ["build_model"]


def build_model(
    config: ModelConfig,
    *,
    num_classes: int,
    input_size: tuple[int, int, int],
    weights: str | None = None,
    classes: Sequence[str] | None = None,
) -> nn.Module:
    """Build the network, from weights to fine-tune where given.

    Args:
        config: name and options.
        num_classes: of the data set.
        input_size: channels, height, width.
        weights: file or run folder to start from; a classifier for other classes is left out, the
            rows of one for the same classes are put into their order.
        classes: names of the data set's classes in order.

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
    if config.pretrained and checkpoint:
        raise UserError("got model.pretrained and --weights, expected one of them")
    check_pretrained(config, name)
    if config.pretrained:
        options["pretrained"] = True
    try:
        rows = None
        if checkpoint is not None:
            # outputs that the data set has no names for (model.num_classes) agree with none
            named = classes is not None and options["num_classes"] == len(classes)
            wanted = classes if named or classes is None else []
            rows = rows_of_classes(checkpoint.classes, wanted)
            checkpoint = _in_order(checkpoint, rows)
        start = checkpoint if ours else None
        model = create_model(name, start, **options, **config.kwargs)
    except TypeError as error:
        raise UserError(f"model {name}: {error}") from error
    if checkpoint is not None and not ours:
        _load_foreign(model, checkpoint)
    same_number = checkpoint is not None and len(checkpoint.classes or ()) == options["num_classes"]
    if checkpoint is not None and rows is None and same_number:
        _renew_classifier(model)
        say_new_head(checkpoint.path, checkpoint.classes, classes)
    if config.grad_checkpointing:
        set_grad_checkpointing(model, name)
    return model


def _in_order(checkpoint: Checkpoint, rows: Sequence[int] | None) -> Checkpoint:
    """A classifier with its rows in the order of the run's classes."""
    if not rows or list(rows) == sorted(rows):
        return checkpoint
    names = [
        name
        for name, value in checkpoint.state_dict.items()
        if name.startswith(_classifier_of(checkpoint)) and value.shape[0] == len(rows)
    ]
    moved = moved_rows(checkpoint.state_dict, names, rows)
    return dataclasses.replace(checkpoint, state_dict={**checkpoint.state_dict, **moved})


def _classifier_of(checkpoint: Checkpoint) -> tuple[str, ...]:
    name = checkpoint.model_name
    if checkpoint.source != "other" or name is None:
        return ("head.fc.fc2.",)
    with torch.device("meta"):
        return classifier_prefixes(timm.create_model(name))


def _renew_classifier(model: nn.Module) -> None:
    for prefix in classifier_prefixes(model):
        for name, parameter in model.get_submodule(prefix.removesuffix(".")).named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.trunc_normal_(parameter, std=0.02)


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
        raise UserError(f"{checkpoint.path}: weights of another model; {difference.explain()}")
    model.load_state_dict(state, strict=False)
