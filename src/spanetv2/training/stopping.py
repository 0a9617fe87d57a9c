"""Ending a run early and cleanly: signals, and losses that are no longer numbers."""

import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from spanetv2.errors import Interrupted
from spanetv2.training.finite import BadLoss, LossWatch, NonFiniteError

__all__ = ["Interrupted", "Watch", "shield_worker"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Watch(Callback):
    """After every batch: has anyone asked to stop, and is the loss still a number?

    A signal only sets a flag; the run stops after the optimiser update under way, when the
    checkpoint callback has saved it. With several processes they agree on both questions at
    every batch, so that all stop at the same one.

    Args:
        checkpoint: file that a message may name as the last good one.
    """

    def __init__(self, checkpoint: Path):
        self.checkpoint = checkpoint
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

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.install()  # again: Lightning has put its own handler in since

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches != 0
        update = trainer.global_step - (0 if accumulating else 1)
        lr = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        bad = self.losses.note(outputs["loss"], update=update, epoch=trainer.current_epoch, lr=lr)
        number = self.signal or 0
        if trainer.world_size > 1:
            told = torch.tensor([bad is not None, number], device=trainer.strategy.root_device)
            torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
            any_bad, number = (int(value) for value in told.tolist())
            if any_bad and bad is None:
                value = float("nan")
                bad = BadLoss(value=value, update=update, epoch=trainer.current_epoch, lr=lr)
        if bad is not None:
            raise self.error(bad)
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


def shield_worker(_: int) -> None:
    """Let a loading process outlive the first signal that the whole process group gets.

    A terminal sends Ctrl-C, and a cluster SIGTERM, to the loading processes too; the run would
    die of their deaths before it could save. The second SIGTERM ends the process, so that
    Python's clean-up at exit still works.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    seen: list[int] = []

    def on_term(number: int, _: FrameType | None) -> None:
        if seen:
            os._exit(128 + number)
        seen.append(number)

    signal.signal(signal.SIGTERM, on_term)
