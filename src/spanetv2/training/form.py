"""The form that a run's network computes in: settled once, and kept as long as the run goes on.

The forms agree up to rounding only. So a resumed run takes the form that its checkpoint records,
and every process that of the first, whatever machine they are on.
"""

from typing import TYPE_CHECKING, Any

import torch

from spanetv2.models.implementation import has_form, set_form
from spanetv2.ops.linear import fastest_form

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from spanetv2.training.config import BaseRunConfig
    from spanetv2.training.module import TaskModule

__all__ = ["settle_form", "use_form"]

_BEFORE = "tokens"
"""Of runs whose checkpoints do not tell: there was no other."""
_DTYPES = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16}
"""What linear layers compute in, by the precision of a run; others were not measured."""


def settle_form(
    config: "BaseRunConfig", trainer: "Trainer", recorded: dict[str, Any] | None
) -> tuple[str, str]:
    """The form of a run, and what to tell of it.

    Args:
        config: of the run; ``model.form`` says what is asked for.
        trainer: where and in which precision it runs.
        recorded: what the checkpoint that the run goes on from tells; None for a new run.

    Returns:
        "tokens" or "maps", and a line for the user, which may be empty.
    """
    model: Any = getattr(config, "model", None)
    asked = getattr(model, "form", "auto")
    if recorded is not None:
        form = recorded.get("form", _BEFORE)
        if asked in ("auto", form):
            return form, ""
        return form, f"model.form stays {form}, which the run began with (got {asked})"
    if asked != "auto":
        return asked, ""
    if trainer.precision not in _DTYPES:
        return "tokens", ""
    dtype = _DTYPES[trainer.precision]
    device = trainer.strategy.root_device.type
    compiled = bool(getattr(model, "compile", False))
    return fastest_form(device, compiled=compiled, training=True, dtype=dtype), ""


def use_form(module: "TaskModule") -> None:
    """Put the network and its average into the form of the first process.

    Args:
        module: of the run, whose processes can reach each other.
    """
    module.form = module.trainer.strategy.broadcast(module.form)
    if has_form(module.net):
        set_form(module.net, module.form)
        set_form(module.evaluated_net, module.form)
