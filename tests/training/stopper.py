"""A callback that interrupts a run at an exact place, given on the command line."""

import multiprocessing
import os
import signal
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class Stopper(Callback):
    """Raise a signal in this process, or spoil the weights, after a batch.

    Args:
        batch: 0-based count of training batches over the whole run, None never.
        validation: 0-based count of validation passes to strike in, None never.
        number: the signal, 0 for none.
        poison: write NaN into the first parameter instead.
        rank: only in this process of a run of several, None in all.
        worker: kill a loading process instead.
    """

    def __init__(
        self,
        batch: int | None = None,
        validation: int | None = None,
        number: int = int(signal.SIGKILL),
        poison: bool = False,
        rank: int | None = None,
        worker: bool = False,
    ):
        self.batch = batch
        self.validation = validation
        self.number = number
        self.poison = poison
        self.rank = rank
        self.worker = worker
        self.seen = -1
        self.validations = -1

    def _strike(self, module: LightningModule) -> None:
        if self.rank not in (None, int(os.environ.get("LOCAL_RANK", "0"))):
            return
        if self.worker:
            for process in multiprocessing.active_children():
                process.kill()
        elif self.poison:
            with torch.no_grad():
                next(module.parameters()).fill_(float("nan"))
        elif self.number == signal.SIGKILL:
            os.kill(os.getpid(), signal.SIGKILL)
        else:
            signal.raise_signal(self.number)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.seen += 1
        if self.seen == self.batch:
            self._strike(pl_module)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validations += 1
        if self.validations == self.validation:
            self._strike(pl_module)
