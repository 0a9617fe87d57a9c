"""The training step of image classification."""

import json
from typing import Any

import torch
from lightning.pytorch import LightningModule
from timm.data.mixup import Mixup
from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from spanetv2.errors import UserError
from spanetv2.tasks.classification.metrics import ClassificationMeter
from spanetv2.training.config import EmaConfig, MixingConfig, OptimizerConfig, ScheduleConfig
from spanetv2.training.data import TrainingData
from spanetv2.training.freezing import hold_frozen_in_eval
from spanetv2.training.optimizer import build_optimizer
from spanetv2.training.schedule import Schedule
from spanetv2.training.seeding import seed_step

__all__ = ["ImageClassification"]


class ImageClassification(LightningModule):
    """A timm classifier with what training it needs.

    Checkpoints hold the network as ``net.*`` and its average, if there is one, as
    ``ema.module.*``.

    Args:
        net: the network, ``num_classes`` outputs.
        num_classes: number of classes.
        optimizer: optimiser and groups.
        schedule: learning rate over time.
        mixing: mixup, cutmix, label smoothing.
        ema: averaging of the weights.
        seed: of everything random in a step.
        frozen: names of parameters that stay as they are.
        channels_last: convert images to channels-last.
        identity: what a checkpoint tells about the network: model_name, model_kwargs, classes,
            preprocessing.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        num_classes: int,
        optimizer: OptimizerConfig,
        schedule: ScheduleConfig,
        mixing: MixingConfig,
        ema: EmaConfig,
        seed: int = 0,
        frozen: list[str] | None = None,
        channels_last: bool = False,
        identity: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.net = net
        self.num_classes = num_classes
        self.optimizer_config = optimizer
        self.schedule_config = schedule
        self.mixing = mixing
        self.seed = seed
        self.frozen = frozen or []
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.identity = identity or {}
        self.ema = ModelEmaV3(net, decay=ema.decay, use_warmup=ema.warmup) if ema.decay else None
        if self.ema is not None:
            self.ema.requires_grad_(False)  # or several processes would wait for its gradients
        self.mixup = _build_mixup(mixing, num_classes)
        self.soft_loss = SoftTargetCrossEntropy()
        self.hard_loss = LabelSmoothingCrossEntropy(mixing.label_smoothing)
        self.meter: ClassificationMeter | None = None
        self._schedule: Schedule | None = None

    @property
    def evaluated_net(self) -> nn.Module:
        """The network that validation measures and that is kept: the average if there is one."""
        return self.net if self.ema is None else self.ema.module

    @property
    def data(self) -> TrainingData:
        """The data of the run."""
        data = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        assert isinstance(data, TrainingData)
        return data

    # training ------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Optimizer:
        optimizer = build_optimizer(self.net, self.optimizer_config)
        batches = self.data.batches_per_epoch
        assert self.trainer.max_epochs is not None
        self._schedule = Schedule(
            optimizer,
            self.schedule_config,
            epochs=self.trainer.max_epochs,
            updates_per_epoch=0 if batches is None else batches // self.data.plan.accumulation,
        )
        return optimizer

    def on_train_epoch_start(self) -> None:
        self.data.begin_epoch(self.current_epoch)
        if self.mixup is not None:
            off = self.mixing.off_epoch
            self.mixup.mixup_enabled = off is None or self.current_epoch < off

    def on_train_start(self) -> None:
        # Resuming amid an epoch, Lightning does not call this.
        self.on_train_epoch_start()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        assert self._schedule is not None
        self._schedule.apply(epoch=self.current_epoch, update=self.global_step)
        batches = self.data.batches_per_epoch or 0
        seed_step(self.seed, self.current_epoch * batches + batch_idx, self.global_rank)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, targets = batch
        images = images.contiguous(memory_format=self.memory_format)
        if self.mixup is not None:
            images, targets = self.mixup(images, targets)
            return self.soft_loss(self.net(images).float(), targets)
        return self.hard_loss(self.net(images).float(), targets)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.ema is not None:
            # timm counts from 1; its first update copies the weights
            self.ema.update(self.net, step=self.global_step + 1)

    def train(self, mode: bool = True) -> "ImageClassification":
        super().train(mode)
        if mode:
            hold_frozen_in_eval(self.net, self.frozen)
            if self.ema is not None:
                self.ema.eval()
        return self

    # validation ----------------------------------------------------------------------------------

    def on_validation_start(self) -> None:
        self.meter = ClassificationMeter(self.num_classes)
        self._synchronise_buffers(False)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        assert self.meter is not None
        images, targets = batch
        images = images.contiguous(memory_format=self.memory_format)
        self.meter.update(self.evaluated_net(images).float(), targets)

    def on_validation_epoch_end(self) -> None:
        assert self.meter is not None
        if self.trainer.world_size > 1:
            # sums over samples, each of which exactly one process saw: no mean of means
            for tensor in self.meter.tensors():
                on_device = tensor.to(self.device)
                torch.distributed.all_reduce(on_device)
                tensor.copy_(on_device)
        result = self.meter.compute()
        self.meter = None
        self._synchronise_buffers(True)
        values = {
            "val/loss": result.loss,
            "val/top1": result.top1,
            "val/top5": result.top5,
        }
        # the same on every process, so that the mean over them changes nothing
        self.log_dict(values, logger=False, sync_dist=True)
        for logger in self.loggers:
            logger.log_metrics({"epoch": self.current_epoch, **values}, step=self.global_step)

    def _synchronise_buffers(self, on: bool) -> None:
        """Processes have different numbers of validation batches: none may wait for the others.

        DistributedDataParallel would broadcast batch-norm statistics in every forward pass.
        """
        wrapped = self.trainer.model
        if not isinstance(wrapped, DistributedDataParallel):
            return
        if not on:
            for buffer in self.buffers():
                torch.distributed.broadcast(buffer, 0)
        wrapped.require_forward_param_sync = on

    # checkpoints ---------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["spanetv2"] = json.dumps(self.identity)


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
