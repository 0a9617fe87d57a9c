"""What a run writes down while it goes: a table, TensorBoard events, throughput."""

import csv
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from spanetv2.files import atomic_path, writing
from spanetv2.training.batching import BatchPlan

__all__ = ["COLUMNS", "RunLog", "TrainingLog"]

COLUMNS: tuple[str, ...] = (
    "step",
    "epoch",
    "lr",
    "train/loss",
    "train/images_per_second",
    "train/gradient_norm",
)
"""First columns of metrics.csv; what validation measures follows. Steps are updates."""


class RunLog(Logger):
    """``metrics.csv`` and TensorBoard events in one folder, continued after resuming.

    Lightning's own CSV logger starts a new file, and deletes the old one, when a run is resumed.

    Args:
        folder: where to.
        figures: what validation measures, the further columns (without ``val/``). A cell is empty
            where nothing was measured.
        resume_step: leave out rows after this update, which are about to come again; None starts
            anew.
    """

    def __init__(
        self, folder: Path, *, figures: Sequence[str] = (), resume_step: int | None = None
    ):
        super().__init__()
        self.folder = folder
        self.columns = (*COLUMNS, *(f"val/{name}" for name in figures))
        self.table = folder / "metrics.csv"
        self._resume_step = resume_step
        self._writer: Any = None

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def version(self) -> str:
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """TensorBoard's SummaryWriter."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._keep_rows()
            purge = None if self._resume_step is None else self._resume_step + 1
            with writing(self.folder):
                self._writer = SummaryWriter(str(self.folder), purge_step=purge)
        return self._writer

    @rank_zero_only
    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        pass  # the whole configuration stands beside the logs

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        step = 0 if step is None else step
        writer = self.experiment
        with writing(self.folder):
            for key, value in metrics.items():
                if key != "epoch":
                    writer.add_scalar(key, value, step)
        if not set(metrics) & set(self.columns[2:]):
            return  # a further callback's own measurements are in TensorBoard
        known = {key: _short(metrics[key]) for key in self.columns if key in metrics}
        row = {"step": step, **known}
        with writing(self.table), self.table.open("a", newline="", encoding="utf-8") as stream:
            csv.DictWriter(stream, self.columns).writerow(row)

    @rank_zero_only
    def save(self) -> None:
        if self._writer is not None:
            with writing(self.folder):
                self._writer.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self._writer is not None:
            writer, self._writer = self._writer, None
            with writing(self.folder):
                writer.close()

    def _keep_rows(self) -> None:
        rows: list[dict[str, str]] = []
        if self._resume_step is not None and self.table.is_file():
            with self.table.open(newline="", encoding="utf-8") as stream:
                # a row cut short by a crash has no number in its first columns or is the last
                rows = [
                    row
                    for row in csv.DictReader(stream)
                    if (row.get("step") or "").isdigit() and int(row["step"]) <= self._resume_step
                ]
        with (
            atomic_path(self.table) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.DictWriter(stream, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)


def _short(value: Any) -> Any:
    return value if isinstance(value, int) else f"{float(value):.6g}"


class TrainingLog(Callback):
    """Logs loss, learning rate, images per second and gradient norm every so many updates.

    The loss is the mean over the updates since the last line, of all processes.

    Adds the loss up on the device, so that only a logged update waits for it. The clock stands
    still during validation and while checkpoints are written.

    Args:
        every: updates between two lines.
        plan: images per update.
    """

    def __init__(self, every: int, plan: BatchPlan):
        self.every = every
        self.plan = plan
        self.images = 0
        self.seconds = 0.0
        self.last_loss: float | None = None
        self.last_rate: float | None = None
        self._begin()

    def _begin(self) -> None:
        self._passes: list[torch.Tensor] = []
        self._loss: torch.Tensor | None = None
        self._batches = 0
        self._spent = 0.0
        self._since = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        return {
            "images": self.images,
            "seconds": self.seconds,
            "loss": None if self._loss is None else float(self._loss),
            "batches": self._batches,
            "spent": self._spent,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.images, self.seconds = state_dict["images"], state_dict["seconds"]
        loss = state_dict["loss"]
        self._loss = None if loss is None else torch.tensor(loss)
        self._batches, self._spent = state_dict["batches"], state_dict["spent"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()
        if self._loss is not None:
            self._loss = self._loss.to(pl_module.device)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._pause()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()

    def _pause(self) -> None:
        self._spent += time.perf_counter() - self._since
        self._since = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Lightning has divided it by the number of accumulated batches
        loss = outputs["loss"].detach() * trainer.accumulate_grad_batches
        self._passes.append(loss)
        self._batches += 1
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        factor: Any = pl_module.update_factor  # TaskModule's, known after the last pass
        for loss in self._passes:
            loss = loss if factor is None else loss * factor
            self._loss = loss if self._loss is None else self._loss + loss
        self._passes.clear()
        if trainer.global_step % self.every == 0 or trainer.is_last_batch:
            self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, module: Any) -> None:
        assert self._loss is not None
        total = self._loss
        if trainer.world_size > 1:
            total = total / trainer.world_size
            torch.distributed.all_reduce(total)
        loss = float(total) / self._batches  # waits for the device
        self._pause()
        images = self._batches * self.plan.per_device * self.plan.devices
        self.images += images
        self.seconds += self._spent
        rate = images / max(self._spent, 1e-9)
        self.last_loss, self.last_rate = loss, rate
        values = {
            "epoch": trainer.current_epoch,
            "lr": max(group["lr"] for group in trainer.optimizers[0].param_groups),
            "train/loss": loss,
            "train/images_per_second": rate,
            "train/gradient_norm": float(module.gradient_norm),  # of this update alone
        }
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)
        self._begin()
