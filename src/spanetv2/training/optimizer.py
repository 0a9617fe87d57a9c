"""The optimiser and its parameter groups, by timm."""

from collections.abc import Callable
from typing import Any

from timm.optim import create_optimizer_v2, list_optimizers
from torch import nn
from torch.optim import Optimizer

from spanetv2.errors import UserError
from spanetv2.training.config import OptimizerConfig

__all__ = ["build_optimizer"]


def build_optimizer(
    model: nn.Module,
    config: OptimizerConfig,
    *,
    lr_scale: Callable[[str], float] | None = None,
) -> Optimizer:
    """Make the optimiser of a model.

    Groups: with weight decay; without it (biases, parameters of one dimension, those the model's
    ``no_weight_decay`` names), unless ``decay_all``; with ``layer_decay`` the same per layer, each
    with an ``lr_scale`` that timm's schedulers apply. Frozen parameters are left out.

    Args:
        model: a timm model, or any where ``lr_scale`` is given or no ``layer_decay`` is wanted.
        config: kind, rates, groups.
        lr_scale: factor of the learning rate by parameter name, instead of timm's for
            ``layer_decay``.

    Raises:
        UserError: unknown optimiser, or arguments that it does not take.
    """
    options: dict[str, Any] = dict(config.kwargs)
    if config.betas is not None:
        options["betas"] = config.betas
    if config.eps is not None:
        options["eps"] = config.eps
    known = [str(name) for name in list_optimizers()]
    if config.name.lower() not in known:
        raise UserError(
            f"optimizer.name is {config.name!r}, expected one of timm's: {', '.join(known)}"
        )
    if config.layer_decay is not None and config.decay_all and lr_scale is None:
        raise UserError("optimizer.layer_decay and optimizer.decay_all exclude each other")
    parameters: Any = model
    layer_decay = config.layer_decay
    if lr_scale is not None:
        parameters, layer_decay = _scaled_groups(model, config, lr_scale), None
    try:
        return create_optimizer_v2(
            parameters,
            opt=config.name,
            lr=config.lr,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            filter_bias_and_bn=not config.decay_all,
            layer_decay=layer_decay,
            **options,
        )
    except TypeError as error:
        raise UserError(f"optimizer.name={config.name}: {error}") from error


def _scaled_groups(
    model: nn.Module, config: OptimizerConfig, lr_scale: Callable[[str], float]
) -> list[dict[str, Any]]:
    """A group for every factor of the rate, with and without weight decay."""
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    named = set(getattr(model, "no_weight_decay", set)())
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        plain = not config.decay_all and (
            parameter.ndim <= 1 or name.endswith(".bias") or name in named
        )
        key = (lr_scale(name), 0.0 if plain else config.weight_decay)
        empty: dict[str, Any] = {"params": [], "lr_scale": key[0], "weight_decay": key[1]}
        groups.setdefault(key, empty)["params"].append(parameter)
    return list(groups.values())
