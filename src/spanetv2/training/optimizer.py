"""The optimiser and its parameter groups, by timm."""

from typing import Any

from timm.optim import create_optimizer_v2, list_optimizers
from torch import nn
from torch.optim import Optimizer

from spanetv2.errors import UserError
from spanetv2.training.config import OptimizerConfig

__all__ = ["build_optimizer"]


def build_optimizer(model: nn.Module, config: OptimizerConfig) -> Optimizer:
    """Make the optimiser of a timm model.

    Groups: with weight decay; without it (biases, parameters of one dimension, those the model's
    ``no_weight_decay`` names), unless ``decay_all``; with ``layer_decay`` the same per layer, each
    with an ``lr_scale`` that timm's schedulers apply. Frozen parameters are left out.

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
    if config.layer_decay is not None and config.decay_all:
        raise UserError("optimizer.layer_decay and optimizer.decay_all exclude each other")
    try:
        return create_optimizer_v2(
            model,
            opt=config.name,
            lr=config.lr,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            filter_bias_and_bn=not config.decay_all,
            layer_decay=config.layer_decay,
            **options,
        )
    except TypeError as error:
        raise UserError(f"optimizer.name={config.name}: {error}") from error
