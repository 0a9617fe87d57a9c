"""The training step of image classification."""

from typing import Any

import torch
from timm.data.mixup import Mixup
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from torch import Tensor, nn

from spanetv2.errors import UserError
from spanetv2.models.weights.save import model_record
from spanetv2.tasks.classification.build import build_model
from spanetv2.tasks.classification.config import MixingConfig, RunConfig
from spanetv2.tasks.classification.metrics import ClassificationMeter
from spanetv2.training.freezing import freeze
from spanetv2.training.module import TaskModule

__all__ = ["ImageClassification", "make_module"]


class ImageClassification(TaskModule):
    """A timm classifier with what training it needs.

    Args:
        net: the network, ``num_classes`` outputs.
        config: of the run.
        num_classes: number of classes.
        identity: model_name, model_kwargs, classes, preprocessing.
        frozen: names of parameters that stay as they are.
    """

    config: RunConfig

    def __init__(
        self,
        net: nn.Module,
        *,
        config: RunConfig,
        num_classes: int,
        identity: dict[str, Any],
        frozen: list[str] | None = None,
    ):
        super().__init__(net, config=config, identity=identity, frozen=frozen)
        self.num_classes = num_classes
        self.memory_format = (
            torch.channels_last if config.model.channels_last else torch.contiguous_format
        )
        self.mixup = _build_mixup(config.mixing, num_classes)
        self.soft_loss = SoftTargetCrossEntropy()
        self.hard_loss = LabelSmoothingCrossEntropy(config.mixing.label_smoothing)
        self.meter: ClassificationMeter | None = None

    def describe(self) -> str:
        return f"{super().describe()}, {self.num_classes} classes"

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        if self.mixup is not None:
            off = self.config.mixing.off_epoch
            self.mixup.mixup_enabled = off is None or self.current_epoch < off

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, targets = batch
        images = images.contiguous(memory_format=self.memory_format)
        if self.mixup is not None:
            images, targets = self.mixup(images, targets)
            return self.soft_loss(self.net(images).float(), targets)
        return self.hard_loss(self.net(images).float(), targets)

    def begin_validation(self) -> None:
        self.meter = ClassificationMeter(self.num_classes)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        assert self.meter is not None
        images, targets = batch
        images = images.contiguous(memory_format=self.memory_format)
        self.meter.update(self.evaluated_net(images).float(), targets)

    def validated(self) -> dict[str, float]:
        assert self.meter is not None
        self.sum_over_processes(self.meter.tensors())
        result = self.meter.compute()
        self.meter = None
        return {"top1": result.top1, "top5": result.top5, "loss": result.loss}


def make_module(
    config: RunConfig, classes: list[str], *, held_out: dict[str, Any] | None = None
) -> ImageClassification:
    """Build the network of a run, with the weights to start from, and its training step.

    Raises:
        UserError: no such model, weights that do not fit, fewer outputs than classes, or one class.
    """
    if len(classes) < 2:
        raise UserError(
            f"got {len(classes)} class ({', '.join(classes)}), expected 2 or more: with one there "
            "is nothing to learn"
        )
    net = build_model(
        config.model,
        num_classes=len(classes),
        input_size=config.preprocessing.input_size,
        weights=config.weights,
        classes=classes,
    )
    outputs = int(net.num_classes)  # pyright: ignore[reportArgumentType]
    if outputs < len(classes):
        raise UserError(f"model.num_classes={outputs}, but the data set has {len(classes)} classes")
    frozen = freeze(net, config.freeze)
    if config.model.channels_last:
        net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    identity = {
        **model_record(net),
        "classes": classes if outputs == len(classes) else None,
        "preprocessing": config.preprocessing.to_dict(),
    }
    if held_out is not None:
        identity["extra"] = {"held_out": held_out}
    module = ImageClassification(
        net, config=config, num_classes=outputs, identity=identity, frozen=frozen
    )
    if config.model.compile:
        net.compile()
    return module


def _build_mixup(config: MixingConfig, num_classes: int) -> Mixup | None:
    if not (config.mixup or config.cutmix):
        return None
    if num_classes < 2:
        raise UserError(f"mixup and cutmix need 2 classes or more, got {num_classes}")
    return Mixup(
        mixup_alpha=config.mixup,
        cutmix_alpha=config.cutmix,
        prob=config.prob,
        switch_prob=config.switch_prob,
        mode=config.mode,
        label_smoothing=config.label_smoothing,
        num_classes=num_classes,
    )
