"""The learning rate as a function of progress, by timm's schedulers."""

from dataclasses import replace
from typing import Any

from timm.scheduler import MultiStepLRScheduler, create_scheduler_v2
from torch.optim import Optimizer

from spanetv2.errors import UserError
from spanetv2.training.config import ScheduleConfig

__all__ = ["Schedule", "lowered_warmup"]

_WITHOUT_END = ("step", "multistep", "constant")
"""Kinds that fall at fixed places, or never, rather than over the length of the run."""
_STEP = 90.0  # epochs, timm's default


class Schedule:
    """Sets the rate from (epoch, update) alone, so there is no state to save or to restore.

    A resumed run follows the schedule of its configuration, also where that was changed (a lower
    ``lr``, say). Before ``config.begin`` the rate is what it is there. timm's schedulers apply each
    group's ``lr_scale``; torch's do not.

    Args:
        optimizer: its groups' current rates are the peaks.
        config: kind and shape.
        epochs: length of the whole run, warm-up and cooldown included.
        updates_per_epoch: optimiser updates in an epoch.

    Raises:
        UserError: warm-up and cooldown fill the whole run, the last phase does not fit into it, or
            updates are unknown but needed.
    """

    def __init__(
        self, optimizer: Optimizer, config: ScheduleConfig, *, epochs: int, updates_per_epoch: int
    ):
        self.optimizer = optimizer
        self.config = config
        self.per_update = config.step == "update"
        in_updates = config.updates is not None or config.warmup_updates is not None
        if self.per_update and updates_per_epoch <= 0 and config.updates is None:
            raise UserError(
                "schedule.step=update needs the number of training images; give data.num_samples "
                "or use schedule.step=epoch"
            )
        lengths = _lengths_in_updates if in_updates else _lengths_in_epochs
        if config.updates is None:
            self._begin = (config.begin, config.begin * updates_per_epoch)
        else:
            self._begin = (0, config.begin)
        options = lengths(config, epochs - self._begin[0], updates_per_epoch)
        unit = options["updates_per_epoch"] if self.per_update else 1
        self._warmup: int = options["warmup_epochs"] * unit
        self._cooldown_from: int | None = None
        if config.cooldown_epochs:
            prefix = self._warmup if options.get("warmup_prefix") else 0
            self._cooldown_from = options["num_epochs"] * unit + prefix
        try:
            self._timm, _ = create_scheduler_v2(
                optimizer,
                sched=config.name,
                warmup_lr=config.warmup_lr,
                min_lr=config.min_lr,
                decay_rate=config.decay_rate,
                cycle_decay=1.0,
                step_on_epochs=not self.per_update,
                **options,
            )
        except ValueError as error:  # a last phase of wsd that is longer than the run, or empty
            raise UserError(
                f"schedule.decay_epochs is {config.decay_epochs} in a run of trainer.max_epochs="
                f"{epochs}: {error}"
            ) from error
        if isinstance(self._timm, MultiStepLRScheduler):
            # timm compares with the step to come, and so decays one before the milestone
            self._timm.decay_t = sorted(m * unit + 1 for m in options["decay_milestones"])

    def apply(self, *, epoch: int, update: int) -> None:
        """Set the rates for what comes next: the given epoch (0-based) and update (0-based)."""
        assert self._timm is not None
        epoch, update = (
            max(0, at - begin) for at, begin in zip((epoch, update), self._begin, strict=True)
        )
        place = update if self.per_update else epoch
        if self.per_update:
            self._timm.step_update(update)
        else:
            self._timm.step(epoch)
        # these of timm's know neither a lowest rate nor an end
        if self.config.name in _WITHOUT_END and place >= self._warmup:
            cooling = self._cooldown_from is not None and place >= self._cooldown_from
            for group in self.optimizer.param_groups:
                lowest = self.config.min_lr * group.get("lr_scale", 1.0)
                group["lr"] = lowest if cooling else max(group["lr"], lowest)


def lowered_warmup(
    config: ScheduleConfig, *, epochs: int, updates_per_epoch: int | None
) -> tuple[ScheduleConfig, str]:
    """The schedule with a warm-up of half the run where it would fill all of it.

    Args:
        config: kind and shape.
        epochs: length of the run.
        updates_per_epoch: optimiser updates in an epoch, None if unknown.

    Returns:
        The schedule, and what to tell about it: empty where it stays as it is.

    Example:
        >>> lowered_warmup(ScheduleConfig(warmup_epochs=5), epochs=2, updates_per_epoch=1)[1]
        'warm-up lowered from 5 to 1 epochs, as the run has 2'
    """
    if config.updates is None:
        epochs -= config.begin
    rest = epochs - config.cooldown_epochs
    if config.warmup_updates is None:
        if rest < 1 or config.warmup_epochs < rest:
            return config, ""
        note = f"warm-up lowered from {config.warmup_epochs} to {rest // 2} epochs, as the run has "
        return replace(config, warmup_epochs=rest // 2), f"{note}{epochs}"
    if config.updates is None and updates_per_epoch is None:
        return config, ""
    total = _updates(config) or rest * (updates_per_epoch or 0)
    if total < 1 or config.warmup_updates < total:
        return config, ""
    note = f"warm-up lowered from {config.warmup_updates} to {total // 2} updates, as the run has "
    return replace(config, warmup_updates=total // 2 or None), f"{note}{total}"


def _updates(config: ScheduleConfig) -> int | None:
    """Length of the schedule, where it is counted in updates."""
    return None if config.updates is None else config.updates - config.begin


def _lengths_in_epochs(
    config: ScheduleConfig, epochs: int, updates_per_epoch: int
) -> dict[str, Any]:
    if epochs - config.cooldown_epochs - config.warmup_epochs <= 0:
        raise UserError(
            f"trainer.max_epochs={epochs} leaves no epoch between schedule.warmup_epochs="
            f"{config.warmup_epochs} and schedule.cooldown_epochs={config.cooldown_epochs}; "
            "train longer or lower these"
        )
    return {
        "num_epochs": epochs - config.cooldown_epochs,
        "cooldown_epochs": config.cooldown_epochs,
        "warmup_epochs": config.warmup_epochs,
        "decay_epochs": config.decay_epochs,
        "decay_milestones": config.decay_milestones,
        "updates_per_epoch": updates_per_epoch,
    }


def _lengths_in_updates(
    config: ScheduleConfig, epochs: int, updates_per_epoch: int
) -> dict[str, Any]:
    """The same with an update for timm's epoch; lengths given in epochs are converted."""
    if config.updates is not None:
        updates_per_epoch = 1  # there are no epochs: milestones are updates
    cooldown = config.cooldown_epochs * updates_per_epoch
    total = (_updates(config) or epochs * updates_per_epoch) - cooldown
    warmup = config.warmup_updates or config.warmup_epochs * updates_per_epoch
    if total <= warmup:
        raise UserError(
            f"a run of {total + cooldown} updates leaves none after schedule.warmup_updates="
            f"{warmup}; train longer or lower it"
        )
    smooth = config.name not in _WITHOUT_END
    decay = config.decay_epochs
    if decay is None and config.name == "step":
        decay = _STEP
    share = config.name == "wsd" and decay is not None and decay < 1  # of the length
    return {
        "num_epochs": total - warmup if smooth else total,
        "warmup_prefix": smooth,
        "warmup_epochs": warmup,
        "cooldown_epochs": cooldown,
        "decay_epochs": decay if decay is None or share else decay * updates_per_epoch,
        "decay_milestones": [m * updates_per_epoch for m in config.decay_milestones],
        "updates_per_epoch": 1,
    }
