"""The learning rate as a function of progress, by timm's schedulers."""

from timm.scheduler import create_scheduler_v2
from torch.optim import Optimizer

from spanetv2.errors import UserError
from spanetv2.training.config import ScheduleConfig

__all__ = ["Schedule"]


class Schedule:
    """Sets the rate from (epoch, update) alone, so there is no state to save or to restore.

    A resumed run follows the schedule of its configuration, also where that was changed (a longer
    ``max_epochs``, say). timm's schedulers apply each group's ``lr_scale``; torch's do not.

    Args:
        optimizer: its groups' current rates are the peaks.
        config: kind and shape.
        epochs: length of the whole run, warm-up and cooldown included.
        updates_per_epoch: optimiser updates in an epoch.

    Raises:
        UserError: warm-up and cooldown fill the whole run, or updates are unknown but needed.
    """

    def __init__(
        self, optimizer: Optimizer, config: ScheduleConfig, *, epochs: int, updates_per_epoch: int
    ):
        rest = epochs - config.cooldown_epochs - config.warmup_epochs
        if rest <= 0:
            raise UserError(
                f"trainer.max_epochs={epochs} leaves no epoch between schedule.warmup_epochs="
                f"{config.warmup_epochs} and schedule.cooldown_epochs={config.cooldown_epochs}; "
                "train longer or lower these"
            )
        per_update = config.step == "update"
        if per_update and updates_per_epoch <= 0:
            raise UserError(
                "schedule.step=update needs the number of training images; give data.num_samples "
                "or use schedule.step=epoch"
            )
        self.optimizer = optimizer
        self.per_update = per_update
        self._timm, _ = create_scheduler_v2(
            optimizer,
            sched=config.name,
            num_epochs=epochs - config.cooldown_epochs,
            cooldown_epochs=config.cooldown_epochs,
            warmup_epochs=config.warmup_epochs,
            warmup_lr=config.warmup_lr,
            min_lr=config.min_lr,
            decay_epochs=config.decay_epochs,
            decay_rate=config.decay_rate,
            decay_milestones=config.decay_milestones,
            cycle_decay=1.0,
            step_on_epochs=not per_update,
            updates_per_epoch=updates_per_epoch,
        )

    def apply(self, *, epoch: int, update: int) -> None:
        """Set the rates for what comes next: the given epoch (0-based) and update (0-based)."""
        assert self._timm is not None
        if self.per_update:
            self._timm.step_update(update)
        else:
            self._timm.step(epoch)
