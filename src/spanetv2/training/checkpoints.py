"""Writing, choosing and finding checkpoints."""

import contextlib
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from spanetv2.errors import Interrupted, UserError
from spanetv2.files import atomic_path
from spanetv2.models.weights.archive import archive_fault
from spanetv2.training.config import CheckpointConfig
from spanetv2.training.data import TrainingData
from spanetv2.training.finite import NonFiniteError, all_finite
from spanetv2.training.stopping import Watch, is_stopping

__all__ = [
    "BEST",
    "BROKEN",
    "LAST",
    "PREVIOUS",
    "RunCheckpoints",
    "SafeCheckpointIO",
    "find_checkpoint",
    "set_aside_broken",
]

LAST, PREVIOUS, BEST = "last.ckpt", "last-previous.ckpt", "best.ckpt"
BROKEN = f"{LAST}.broken"
_NEEDED = ("state_dict", "optimizer_states", "loops", "global_step", "epoch")


class SafeCheckpointIO(CheckpointIO):
    """Checkpoints that are whole or absent, and hold tensors and plain values only.

    The file that stood at the path before is kept beside it as ``<name>-previous<suffix>``. At no
    moment is there no complete checkpoint under the path.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        target = Path(path)
        with atomic_path(target, size=_bytes(checkpoint)) as temporary:
            torch.save(checkpoint, temporary)
            if target.is_file():
                link(target, target.with_name(f"{target.stem}-previous{target.suffix}"))

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: Any = "cpu",
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        return torch.load(path, map_location="cpu", weights_only=True)

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        Path(path).unlink(missing_ok=True)


def _bytes(value: Any) -> int:
    """Of the tensors in nested containers."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0


def link(source: Path, target: Path) -> None:
    """Make ``target`` another name of the file ``source``, or a copy where links are impossible."""
    with atomic_path(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:
            temporary.write_bytes(source.read_bytes())


def find_checkpoint(folder: Path) -> tuple[Path | None, str | None]:
    """The newest complete checkpoint of a run; nothing is changed.

    Args:
        folder: the run's ``checkpoints`` folder.

    Returns:
        Its path, None if there is none, and a remark for the user if it is not the last one.

    Raises:
        UserError: there are checkpoints, all of them broken.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    fault = _fault(last)
    if fault is None:
        return last, None
    before = _fault(previous)
    if before is None:
        return previous, f"{last} is {fault}: going on from {previous}"
    if {fault, before} != {"missing"}:
        raise UserError(
            f"{last} is {fault}, and {previous.name} beside it is {before}; start again with "
            "--overwrite"
            + (f", or from --weights {folder / BEST}" if (folder / BEST).is_file() else "")
        )
    return None, None


def set_aside_broken(folder: Path) -> None:
    """Rename a ``last.ckpt`` that is none of a run's (a copy cut short) to ``last.ckpt.broken``.

    So it can never displace the good one before it.

    Args:
        folder: the run's ``checkpoints`` folder.
    """
    last = folder / LAST
    if _fault(last) not in (None, "missing"):
        with contextlib.suppress(OSError):  # another process of the same run may have moved it
            last.rename(last.with_name(BROKEN))


def _fault(path: Path) -> str | None:
    """What keeps a run from going on from a file, in words; None where nothing does."""
    if not path.is_file():
        return "missing"
    if not zipfile.is_zipfile(path) or archive_fault(path) is not None:
        return "truncated or damaged"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # whatever another program put into such a file
        content = None
    whole = isinstance(content, dict) and all(key in content for key in _NEEDED)
    return None if whole else "not a checkpoint of a run"


class RunCheckpoints(Checkpoint):
    """Keeps the last, the one before and the best checkpoint of a run.

    Saves every so many updates, at the end of an epoch, and when the run is asked to stop; always
    between two optimiser updates, never with weights that are not finite.

    Args:
        folder: where to.
        config: how often.
        watch: knows whether to stop, and which losses were bad.
        monitor: the figure that "best" is about; the smallest ``loss``, the largest of others.
        max_steps: end the run after so many updates; None leaves that to the Trainer.
        record: what every checkpoint keeps beside the state, by key.
    """

    def __init__(
        self,
        folder: Path,
        config: CheckpointConfig,
        watch: Watch,
        *,
        monitor: str,
        max_steps: int | None = None,
        record: Mapping[str, str] | None = None,
    ):
        self.folder = folder
        self.record = dict(record or {})
        self.config = config
        self.watch = watch
        self.monitor = monitor
        self.max_steps = max_steps
        self.best_value: float | None = None
        self.best_epoch: int | None = None
        self._validation_pending = False

    # state ---------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        return {"best_value": self.best_value, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best_value = state_dict["best_value"]
        self.best_epoch = state_dict["best_epoch"]

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint.update(self.record)
        if self._validation_pending:
            # What Lightning takes for "stopped amid the validation that follows the last batch":
            # on resuming it repeats that validation from its start.
            progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
            pending = {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            progress.update(total=dict(pending), current=dict(pending), is_last_batch=False)

    # when ----------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.max_steps is not None and trainer.global_step >= self.max_steps:
            trainer.should_stop = True

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if (batch_idx + 1) % trainer.accumulate_grad_batches or trainer.is_last_batch:
            return  # gradients under way, or the end of the epoch, which saves itself
        step = trainer.global_step
        if self.max_steps is not None and step >= self.max_steps:
            trainer.should_stop = True
        if is_stopping(trainer) or (
            self.config.every_steps and step % self.config.every_steps == 0
        ):
            self._save(trainer, epoch=trainer.current_epoch, batches=batch_idx + 1)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check_weights(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        # Several processes finish the validation: they cannot agree on a batch to stop at.
        if self.watch.signal is None or trainer.world_size > 1:
            return
        self._validation_pending = True
        done = int(trainer.num_training_batches)
        self._save(trainer, epoch=trainer.current_epoch, batches=done)
        raise Interrupted("stopped during validation", 128 + self.watch.signal)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_last_batch:
            return  # stopped amid the epoch, and saved there
        if self.max_steps is not None and trainer.global_step >= self.max_steps:
            trainer.should_stop = True
        epoch = trainer.current_epoch
        improved = self._improved(trainer)
        if improved:
            self.best_value, self.best_epoch = self._value(trainer), epoch
        ending = is_stopping(trainer) or epoch + 1 == trainer.max_epochs
        if improved or ending or (epoch + 1) % self.config.every_epochs == 0:
            self._save(trainer, epoch=epoch + 1, batches=0)
            if improved and trainer.is_global_zero:
                link(self.folder / LAST, self.folder / BEST)

    # how -----------------------------------------------------------------------------------------

    def _value(self, trainer: Trainer) -> float | None:
        value = trainer.callback_metrics.get(f"val/{self.monitor}")
        return None if value is None else float(value)

    def _improved(self, trainer: Trainer) -> bool:
        value = self._value(trainer)
        if value is None or value != value:
            return False
        if self.best_value is None:
            return True
        return value < self.best_value if self.monitor == "loss" else value > self.best_value

    def _save(self, trainer: Trainer, *, epoch: int, batches: int) -> None:
        self.watch.check()
        self._check_weights(trainer)
        data = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
        assert isinstance(data, TrainingData)
        data.position = data.position_after(epoch=epoch, batches=batches)
        trainer.save_checkpoint(self.folder / LAST)

    def _check_weights(self, trainer: Trainer) -> None:
        if not all_finite(trainer.lightning_module.parameters()):
            raise NonFiniteError(
                f"the weights are no longer finite after update {trainer.global_step} (epoch "
                f"{trainer.current_epoch + 1}) and are not saved; {self.watch.last_good()}; lower "
                "optimizer.lr or clip with --trainer.gradient_clip_val 1"
            )
