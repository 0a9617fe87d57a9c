"""A line after every epoch, and on a terminal a progress bar over the whole run."""

import os
import sys
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from spanetv2.training.batching import BatchPlan
from spanetv2.training.logs import TrainingLog

__all__ = ["RunProgress"]


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return 0


class RunProgress(ProgressBar):
    """Shows epochs, images per second, time left, loss, learning rate and the figure so far.

    Args:
        plan: images per batch.
        log: where loss and rate are known.
        figure: the figure of validation to show, without ``val/``.
        headline: its name for people.
        updates: updates in an "epoch", where the run is counted in updates.
    """

    def __init__(
        self,
        plan: BatchPlan,
        log: TrainingLog,
        *,
        figure: str,
        headline: str,
        updates: int | None = None,
    ):
        super().__init__()
        self.figure = figure
        self.headline = headline
        self.updates = updates
        self.plan = plan
        self.training_log = log
        self._bar: tqdm[Any] | None = None
        self._enabled = True
        self._value: float | None = None

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._enabled or not trainer.is_global_zero:
            return
        batches = trainer.num_training_batches
        assert trainer.max_epochs is not None
        images = self.plan.per_device * self.plan.devices
        total = None if batches == float("inf") else int(batches) * trainer.max_epochs * images
        done = trainer.global_step * self.plan.total
        if sys.stderr.isatty():
            self._bar = tqdm(
                total=total,
                initial=done,
                unit="img",
                unit_scale=True,
                # terminals that tell no size (0 x 0) would get an empty bar
                dynamic_ncols=_columns() > 0,
                ncols=None if _columns() > 0 else 100,
                nrows=None if _columns() > 0 else 24,
                smoothing=0.05,
                file=sys.stderr,
            )

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._bar is not None:
            self._describe(trainer)
            self._bar.update(self.plan.per_device * self.plan.devices)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._bar is not None:
            self._bar.set_description_str(f"{self._place(trainer)}, validating")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        value = trainer.callback_metrics.get(f"val/{self.figure}")
        self._value = None if value is None else float(value)
        if not self._enabled or not trainer.is_global_zero:
            return
        line = self._line(trainer)
        if self._bar is not None:
            self._describe(trainer)
            self._bar.write(line, file=sys.stderr)
        else:
            print(line, file=sys.stderr, flush=True)

    def _facts(self, trainer: Trainer) -> dict[str, str]:
        lr = max(group["lr"] for group in trainer.optimizers[0].param_groups)
        facts = (
            {}
            if self.training_log.last_loss is None
            else {"loss": f"{self.training_log.last_loss:.3f}"}
        )
        facts["lr"] = f"{lr:.2g}"
        if self._value is not None:
            facts[self.headline] = f"{self._value:.2%}"
        return facts

    def _describe(self, trainer: Trainer) -> None:
        assert self._bar is not None
        self._bar.set_description_str(self._place(trainer), refresh=False)
        self._bar.set_postfix(self._facts(trainer), refresh=False)

    def _line(self, trainer: Trainer) -> str:
        facts = ", ".join(f"{key} {value}" for key, value in self._facts(trainer).items())
        rate = (
            ""
            if self.training_log.last_rate is None
            else f", {self.training_log.last_rate:,.0f} images/s"
        )
        return f"{self._place(trainer)}: {facts}{rate}"

    def _place(self, trainer: Trainer) -> str:
        assert trainer.max_epochs is not None
        if self.updates is None:
            return f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}"
        return f"update {trainer.global_step:,}/{trainer.max_epochs * self.updates:,}"

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._close()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
