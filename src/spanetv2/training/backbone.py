"""The backbone of a run, as every task's configuration names it."""

from dataclasses import dataclass, field
from typing import Any, Literal

from spanetv2.errors import UserError
from spanetv2.models.factory import resolve_name
from spanetv2.models.published import need_published
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights import Checkpoint, describe
from spanetv2.models.weights.record import DEFAULT_TASK
from spanetv2.training.config import check

__all__ = [
    "BackboneConfig",
    "backbone_name",
    "backbone_options",
    "check_pretrained",
    "check_start",
    "variant_options",
]


@dataclass(kw_only=True)
class BackboneConfig:
    """The backbone.

    Args:
        name: one of ours (see `spanetv2 models`) or a timm model.
        img_size: height and width the spectral filters are made for.
        stem_stride: stride of our models' stem, 1, 2 or 4; null is the variant's.
        drop_path: stochastic depth, the largest rate; null is the model's default.
        head_order: how an authors' checkpoint orders its heads, interleaved or concatenated.
        gate: the spectral gate, sigmoid or scaled_sigmoid.
        pretrained: download timm's weights, or published ones of ours.
        grad_checkpointing: trade time for memory by recomputing activations.
        form: how our models' linear layers are computed, tokens (matrix products) or maps
            (convolutions); auto is the faster one on this machine, and stays that of the run.
        kwargs: further keyword arguments of the model.
    """

    name: str | None = None
    img_size: int | tuple[int, int] | None = None
    stem_stride: int | None = None
    drop_path: float | None = None
    head_order: Literal["interleaved", "concatenated"] | None = None
    gate: Literal["sigmoid", "scaled_sigmoid"] | None = None
    pretrained: bool = False
    grad_checkpointing: bool = False
    form: Literal["auto", "tokens", "maps"] = "auto"
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        value = self.drop_path
        check(value is None or 0 <= value < 1, "model.drop_path", value, "0 to below 1")
        check(self.stem_stride in (None, 1, 2, 4), "model.stem_stride", self.stem_stride, "1, 2, 4")
        sides = self.img_size if isinstance(self.img_size, tuple) else (self.img_size or 1,)
        check(min(sides) > 0, "model.img_size", self.img_size, "1 pixel or more")


def backbone_name(config: BackboneConfig, checkpoint: Checkpoint | None) -> str:
    """The timm name that is asked for, or that the weights tell.

    Raises:
        UserError: neither, or no such model.
    """
    if config.name is not None:
        return resolve_name(config.name)
    if checkpoint is None:
        raise UserError("got no model, expected --model.name (see `spanetv2 models`)")
    name = checkpoint.model_name
    if name is None and checkpoint.source != "other":
        name = describe(checkpoint.state_dict).variant
    if name is None:
        raise UserError(f"{checkpoint.path} does not tell which model it is for; give --model.name")
    return resolve_name(name)


def variant_options(config: BackboneConfig, name: str) -> dict[str, Any]:
    """What is given of stochastic depth and of the options that only our models have.

    Raises:
        UserError: an option of ours for another model.
    """
    if config.form != "auto" and name not in VARIANTS:
        raise UserError(
            f"model.form is an option of our own models, {name} has none; give --model.form auto"
        )
    options: dict[str, Any] = {}
    if config.drop_path is not None:
        options["drop_path_rate"] = config.drop_path
    for key in ("stem_stride", "head_order", "gate"):
        value = getattr(config, key)
        if value is not None and name not in VARIANTS:
            raise UserError(
                f"model.{key} is an option of our own models, {name} has none; give "
                f"--model.{key} null"
            )
        if value is not None:
            options[key] = value
    return options


def check_pretrained(config: BackboneConfig, name: str) -> None:
    """Refuse weights that are nowhere to be had.

    Raises:
        UserError: one of ours, whose weights are not published; the message says what to do.
    """
    if config.pretrained and name in VARIANTS:
        need_published(name)


def backbone_options(config: BackboneConfig, name: str) -> dict[str, Any]:
    """Keyword arguments of the backbone of a dense model.

    Raises:
        UserError: an option that the model has not.
    """
    options: dict[str, Any] = dict(config.kwargs)
    if config.img_size is not None:
        options["img_size"] = config.img_size
    options |= variant_options(config, name)
    check_pretrained(config, name)
    if config.pretrained:
        options["pretrained"] = True
    return options


def check_start(checkpoint: Checkpoint | None, task: str) -> bool:
    """Whether weights to start from are a whole model's of the task, or a classifier's.

    Args:
        checkpoint: the weights of the run, if there are any.
        task: the run's.

    Returns:
        True for weights of the task, heads included; False for those of a backbone, or none.

    Raises:
        UserError: weights of yet another task.
    """
    if checkpoint is None or checkpoint.task == DEFAULT_TASK:
        return False
    if checkpoint.task != task:
        raise UserError(
            f"{checkpoint.path}: weights of task {checkpoint.task!r}, expected a classifier's (for "
            f"the backbone) or those of a {task} model"
        )
    return True
