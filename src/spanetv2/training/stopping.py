"""Ending a run early and cleanly: signals, losses and gradients that are no longer numbers."""

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from spanetv2.errors import Interrupted
from spanetv2.processes import begin_worker
from spanetv2.training.finite import BadLoss, GradientWatch, LossWatch, NonFiniteError

__all__ = ["Interrupted", "Watch", "early_stop", "is_stopping", "shield_worker"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def is_stopping(trainer: Trainer) -> bool:
    """Whether the run ends here: it was asked to, and ``trainer.min_epochs`` are over."""
    return trainer.should_stop and trainer.fit_loop._can_stop_early


def early_stop(trainer: Trainer) -> str | None:
    """A line about a run that a callback ended before its length; None for others.

    Args:
        trainer: of a run that is over.
    """
    if not trainer.should_stop or trainer.current_epoch >= (trainer.max_epochs or 0):
        return None
    callbacks = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    reasons = [
        " ".join((callback.stopping_reason_message or "").split())
        for callback in callbacks
        if isinstance(callback, EarlyStopping)
    ]
    reason = "; ".join(filter(None, reasons)) or "a callback asked for it"
    return f"stopped after epoch {trainer.current_epoch} of {trainer.max_epochs}: {reason}"


class Watch(Callback):
    """After every batch: has anyone asked to stop, are loss and gradients still numbers?

    A signal only sets a flag; the run stops after the optimiser update under way, when the
    checkpoint callback has saved it. With several processes they agree on these questions at
    every batch, so that all stop at the same one.

    Args:
        checkpoint: file that a message may name as the last good one.
        gradients: counts updates whose gradients are no numbers.
    """

    def __init__(self, checkpoint: Path, gradients: GradientWatch):
        self.checkpoint = checkpoint
        self.gradients = gradients
        self.signal: int | None = None
        self.losses = LossWatch()
        self._before: dict[int, Any] = {}
        self._owner = os.getpid()

    # signals -------------------------------------------------------------------------------------

    def install(self) -> None:
        """Take over SIGINT and SIGTERM; only the main thread may, others go without."""
        if threading.current_thread() is not threading.main_thread():
            return
        self._owner = os.getpid()
        for number in _SIGNALS:
            previous = signal.signal(number, self._on_signal)
            self._before.setdefault(number, previous)

    def uninstall(self) -> None:
        """Give the signals back."""
        while self._before:
            number, previous = self._before.popitem()
            signal.signal(number, previous)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._owner:  # a forked loading process
            if number == signal.SIGTERM:
                os._exit(143)
            return
        if self.signal is not None:
            raise Interrupted("stopped at once by a second signal", 128 + number)
        self.signal = number
        print("\nstopping after this update ...", file=sys.stderr, flush=True)

    # hooks ---------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        self.gradients.flush()
        watch = self.gradients
        return {"bad": watch.bad, "vanished": watch.vanished, "in_a_row": watch.in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, value in state_dict.items():
            setattr(self.gradients, name, value)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.install()  # again: Lightning has put its own handler in since

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
        update = trainer.global_step - (0 if accumulating else 1)
        lr = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        bad = self.losses.note(outputs["loss"], update=update, epoch=trainer.current_epoch, lr=lr)
        stuck = False
        if not accumulating:
            norm: Any = pl_module.gradient_norm  # TaskModule's
            stuck = self.gradients.note(norm, update=update)
        number = self.signal or 0
        if trainer.world_size > 1:
            flags = [bad is not None, stuck, number]
            told = torch.tensor(flags, device=trainer.strategy.root_device)
            torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
            any_bad, any_stuck, number = (int(value) for value in told.tolist())
            stuck = bool(any_stuck)
            if any_bad and bad is None:
                value = float("nan")
                bad = BadLoss(value=value, update=update, epoch=trainer.current_epoch, lr=lr)
        if bad is not None:
            raise self.error(bad)
        if stuck:
            raise self._stuck(trainer, lr)
        if number and not accumulating and not trainer.is_last_batch:
            # the end of an epoch is left to on_train_epoch_end and to the checkpoint callback
            self._stop(trainer, number)
            trainer.limit_val_batches = 0

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.check()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.check()
        number = self.signal or 0
        if trainer.world_size > 1:
            told = torch.tensor(number, device=trainer.strategy.root_device)
            torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
            number = int(told)
        if number:
            self._stop(trainer, number)

    def _stop(self, trainer: Trainer, number: int) -> None:
        self.signal = number
        trainer.should_stop = True
        trainer.fit_loop.min_epochs = 0

    # losses --------------------------------------------------------------------------------------

    def check(self) -> None:
        """Wait for the losses under way.

        Raises:
            NonFiniteError: one of them is no number.
        """
        if (bad := self.losses.flush()) is not None:
            raise self.error(bad)

    def _stuck(self, trainer: Trainer, lr: float) -> NonFiniteError:
        return NonFiniteError(
            f"the gradients of the last {self.gradients.in_a_row} updates were NaN or infinite, up "
            f"to update {trainer.global_step} (epoch {trainer.current_epoch + 1}, learning rate "
            f"{lr:.3g}), so that nothing is learned; {self.last_good()}; lower optimizer.lr, look "
            "for images or features that are constant, or use --trainer.precision 32-true"
        )

    def error(self, bad: BadLoss) -> NonFiniteError:
        """What to tell the user."""
        return NonFiniteError(
            f"the loss became {bad.value} at update {bad.update + 1} (epoch {bad.epoch + 1}, "
            f"learning rate {bad.lr:.3g}); {self.last_good()}; lower optimizer.lr, warm up longer, "
            "clip with --trainer.gradient_clip_val 1 or use --trainer.precision 32-true"
        )

    def last_good(self) -> str:
        """Where training can go on from."""
        if self.checkpoint.is_file():
            return f"the last good checkpoint is {self.checkpoint}"
        return "no checkpoint had been written yet"


def shield_worker(number: int) -> None:
    """Let a loading process outlive the first signal that the whole process group gets.

    A terminal sends Ctrl-C, and a cluster SIGTERM, to the loading processes too; the run would
    die of their deaths before it could save. The second SIGTERM ends the process, so that
    Python's clean-up at exit still works.
    """
    begin_worker(number)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    seen: list[int] = []

    def on_term(number: int, _: FrameType | None) -> None:
        if seen:
            os._exit(128 + number)
        seen.append(number)

    signal.signal(signal.SIGTERM, on_term)
