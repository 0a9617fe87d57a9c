"""The Lightning module that every task's training step stands in."""

import abc
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from spanetv2.training.config import BaseRunConfig
from spanetv2.training.data import TrainingData
from spanetv2.training.finite import total_norm
from spanetv2.training.form import use_form
from spanetv2.training.freezing import hold_frozen_in_eval
from spanetv2.training.optimizer import build_optimizer
from spanetv2.training.resume import fit_progress
from spanetv2.training.schedule import Schedule
from spanetv2.training.seeding import seed_step

__all__ = ["TaskModule"]


class TaskModule(LightningModule, abc.ABC):
    """A network with what training it needs; a task adds its steps.

    Checkpoints hold the network as ``net.*`` and its average, if there is one, as
    ``ema.module.*``.

    Args:
        net: the network.
        config: of the run.
        identity: what a checkpoint tells about the network, JSON values.
        frozen: names of parameters that stay as they are.
        lr_scale: factor of the learning rate by parameter name; see ``build_optimizer``.

    Attributes:
        gradient_norm: of the last update, before clipping.
        means_of_passes: average over the parts of an update as version 0.1.0 did: a mean of means.
        form: how the network computes, "tokens" or "maps"; see ``training.form``.
        update_factor: what the mean over an update's passes is times, to be the whole update's
            loss; None is 1.
    """

    def __init__(
        self,
        net: nn.Module,
        *,
        config: BaseRunConfig,
        identity: dict[str, Any],
        frozen: list[str] | None = None,
        lr_scale: Callable[[str], float] | None = None,
    ):
        super().__init__()
        self.net = net
        self.config = config
        self.identity = identity
        self.frozen = frozen or []
        self.lr_scale = lr_scale
        ema = config.ema
        self.ema = ModelEmaV3(net, decay=ema.decay, use_warmup=ema.warmup) if ema.decay else None
        if self.ema is not None:
            self.ema.requires_grad_(False)  # or several processes would wait for its gradients
        self._schedule: Schedule | None = None
        self.gradient_norm = torch.zeros(())
        self.means_of_passes = False
        self.form = "tokens"
        self.update_factor: Tensor | None = None
        self._counts: list[Tensor] = []
        self._most: int = 1
        self._least: Tensor | float = 1.0

    # a task's part -------------------------------------------------------------------------------

    @abc.abstractmethod
    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a batch: a mean over its images, float32.

        A sum over something that batches hold different amounts of is divided by ``divisor``.
        """

    @abc.abstractmethod
    def begin_validation(self) -> None:
        """Start counting anew."""

    @abc.abstractmethod
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Count a batch of ``evaluated_net``'s outputs."""

    @abc.abstractmethod
    def validated(self) -> dict[str, float]:
        """The task's figures over everything that all processes counted.

        Called on every process; gives the same on each.
        """

    def describe(self) -> str:
        """The network in a line."""
        parameters = list(self.net.parameters())
        total = sum(p.numel() for p in parameters)
        trained = sum(p.numel() for p in parameters if p.requires_grad)
        part = "" if trained == total else f", {trained / 1e6:.2f} M of them trained"
        return f"{self.identity['model_name']}, {total / 1e6:.2f} M parameters{part}"

    # for all -------------------------------------------------------------------------------------

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

    def sum_over_processes(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over the processes.

        For counts of samples, each of which exactly one process saw: no mean of means.
        """
        if self.trainer.world_size > 1:
            for tensor in tensors:
                on_device = tensor.to(self.device)
                torch.distributed.all_reduce(on_device)
                tensor.copy_(on_device)

    # means over an update ------------------------------------------------------------------------

    def divisor(self, count: Tensor, *, most: int, least: Tensor | float = 1.0) -> Tensor | int:
        """What the loss of a pass, a sum, is divided by, so that an update's is the whole's mean.

        With one pass an update and one process that is its count. Else the count of the whole
        update is known when its last pass is over: until then sums are divided by ``most``, and
        ``on_after_backward`` puts the gradients right. Called once in a training step.

        Args:
            count: of what the loss sums over in this pass, such as labelled pixels.
            most: the largest count of a pass, the same in every one.
            least: the smallest that an update's count is taken for, against divisions by 0.
        """
        if self.means_of_passes or self.data.plan.accumulation * self.trainer.world_size == 1:
            return count.clamp(min=least)
        self._counts.append(count.detach().float())
        self._most, self._least = most, least
        return most

    def shares_of_processes(self, counts: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What means over a process's part of a pass are times, to be its share of the whole's.

        Gradients are averaged over the processes: with these factors that is the mean over what
        all of them count.

        Args:
            counts: of how many each loss is the mean in this process.
        """
        if self.means_of_passes:
            return {name: torch.ones_like(count) for name, count in counts.items()}
        own = torch.stack([count.float() for count in counts.values()])
        whole = own.clone()
        self.sum_over_processes([whole])
        shares = own * self.trainer.world_size / whole.clamp(min=1)
        return dict(zip(counts, shares, strict=True))

    def on_after_backward(self) -> None:
        plan = self.data.plan
        if len(self._counts) < plan.accumulation:
            return  # not the last pass, or a loss whose passes weigh alike
        count = torch.stack(self._counts).sum()
        self._counts.clear()
        self.sum_over_processes([count])
        whole = self._most * plan.accumulation * self.trainer.world_size
        self.update_factor = whole / count.clamp(min=self._least)
        for parameter in self.net.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(self.update_factor)

    # training ------------------------------------------------------------------------------------

    def on_fit_start(self) -> None:
        use_form(self)
        # Lightning leaves the modes of a network as it finds them, and gives them back after
        # validation: it never calls train().
        hold_frozen_in_eval(self.net, self.frozen)

    def make_optimizer(self) -> Optimizer:
        """A new optimizer for the network, as the configuration has it.

        Raises:
            UserError: an unknown one, or options that it does not take.
        """
        return build_optimizer(self.net, self.config.optimizer, lr_scale=self.lr_scale)

    def configure_optimizers(self) -> Optimizer:
        optimizer = self.make_optimizer()
        batches = self.data.batches_per_epoch
        assert self.trainer.max_epochs is not None
        self._schedule = Schedule(
            optimizer,
            self.config.schedule,
            epochs=self.trainer.max_epochs,
            updates_per_epoch=0 if batches is None else batches // self.data.plan.accumulation,
        )
        return optimizer

    def on_train_epoch_start(self) -> None:
        self.data.begin_epoch(self.current_epoch)

    def on_train_start(self) -> None:
        # Resuming amid an epoch, Lightning does not call this.
        self.on_train_epoch_start()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        assert self._schedule is not None
        self._schedule.apply(epoch=self.current_epoch, update=self.global_step)
        batches = self.data.batches_per_epoch or 0
        step = self.current_epoch * batches + batch_idx
        seed_step(self.config.seed, step, self.global_rank)

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Measure the gradients, and clip them if that is asked for."""
        gradients = [p.grad for p in self.net.parameters() if p.grad is not None]
        self.gradient_norm = total_norm(gradients)
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        if self.ema is not None:
            # timm counts from 1; its first update copies the weights
            self.ema.update(self.net, step=self.global_step + 1)

    def train(self, mode: bool = True) -> "TaskModule":
        super().train(mode)
        if mode:
            hold_frozen_in_eval(self.net, self.frozen)
            if self.ema is not None:
                self.ema.eval()
        return self

    # validation ----------------------------------------------------------------------------------

    def on_validation_start(self) -> None:
        self.begin_validation()
        self._synchronise_buffers(False)

    def on_validation_epoch_end(self) -> None:
        values = {f"val/{name}": value for name, value in self.validated().items()}
        self._synchronise_buffers(True)
        if self.trainer.sanity_checking:
            return  # a few images before the first update: no figure of the run
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

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # before the data and the loops are given their states
        data = type(self.data).__qualname__
        fit_progress(checkpoint, self.data.plan, data=data, log="TrainingLog")
