"""The training step of image classification."""

import dataclasses
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
from spanetv2.tasks.classification.run_data import ClassificationData
from spanetv2.tasks.classification.several import LabelMeter, label_loss
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
        multi_label: whether each output is a yes or no of its own.
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
        multi_label: bool = False,
    ):
        super().__init__(net, config=config, identity=identity, frozen=frozen)
        self.num_classes = num_classes
        self.memory_format = (
            torch.channels_last if config.model.channels_last else torch.contiguous_format
        )
        self.multi_label = multi_label
        self.mixup = _build_mixup(config.mixing, num_classes, multi_label=multi_label)
        self.soft_loss = SoftTargetCrossEntropy()
        self.hard_loss = LabelSmoothingCrossEntropy(config.mixing.label_smoothing)
        self.meter: ClassificationMeter | LabelMeter | None = None

    def describe(self) -> str:
        several = ", several an image" if self.multi_label else ""
        return f"{super().describe()}, {self.num_classes} classes{several}"

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        if self.mixup is not None:
            off = self.config.mixing.off_epoch
            self.mixup.mixup_enabled = off is None or self.current_epoch < off

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, targets = batch
        images = images.contiguous(memory_format=self.memory_format)
        if self.multi_label:
            targets = _widened(targets, self.num_classes)
            smoothing = self.config.mixing.label_smoothing
            if self.mixup is not None:  # which smooths, too
                images, targets = self.mixup(images, targets)
                smoothing = 0.0
            return label_loss(self.net(images), targets, smoothing=smoothing)
        if self.mixup is not None:
            images, targets = self.mixup(images, targets)
            return self.soft_loss(self.net(images).float(), targets)
        return self.hard_loss(self.net(images).float(), targets)

    def begin_validation(self) -> None:
        kind = LabelMeter if self.multi_label else ClassificationMeter
        self.meter = kind(self.num_classes)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        assert self.meter is not None
        images, targets = batch
        images = images.contiguous(memory_format=self.memory_format)
        if self.multi_label:
            targets = _widened(targets, self.num_classes)
        self.meter.update(self.evaluated_net(images).float(), targets)

    def validated(self) -> dict[str, float]:
        meter, self.meter = self.meter, None
        if isinstance(meter, LabelMeter):
            if self.trainer.world_size > 1:
                meter.gather()
            labelled = meter.compute()
            return {"map": labelled.map, "f1": labelled.f1, "loss": labelled.loss}
        assert meter is not None
        self.sum_over_processes(meter.tensors())
        result = meter.compute()
        return {"top1": result.top1, "top5": result.top5, "loss": result.loss}


def _widened(targets_BK: Tensor, outputs: int) -> Tensor:
    """Targets of as many columns as the model has outputs: model.num_classes may ask for more."""
    return nn.functional.pad(targets_BK, (0, outputs - targets_BK.shape[1]))


def make_module(config: RunConfig, data: ClassificationData) -> ImageClassification:
    """Build the network of a run, with the weights to start from, and its training step.

    Raises:
        UserError: no such model, weights that do not fit, or fewer outputs than classes.
    """
    classes = data.classes
    config = dataclasses.replace(config, preprocessing=data.preprocessing)
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
    extra: dict[str, Any] = {"multi_label": True} if data.multi_label else {}
    if data.held_out is not None:
        extra["held_out"] = data.held_out
    if extra:
        identity["extra"] = extra
    module = ImageClassification(
        net,
        config=config,
        num_classes=outputs,
        identity=identity,
        frozen=frozen,
        multi_label=data.multi_label,
    )
    if config.model.compile:
        net.compile()
    return module


def _build_mixup(
    config: MixingConfig, num_classes: int, *, multi_label: bool = False
) -> Mixup | None:
    if not (config.mixup or config.cutmix):
        return None
    return Mixup(
        mixup_alpha=config.mixup,
        cutmix_alpha=config.cutmix,
        prob=config.prob,
        switch_prob=config.switch_prob,
        mode=config.mode,
        label_smoothing=config.label_smoothing,
        num_classes=num_classes,
        multi_label=multi_label,
    )
