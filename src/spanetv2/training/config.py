"""What a run of any task can be told, as typed groups; a task adds its own.

Every field is one command-line option (``--optimizer.lr 1e-3``) and one line of a recipe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from math import inf
from typing import Any, Literal, cast

from spanetv2.data.classes import EmptyClasses
from spanetv2.errors import UserError
from spanetv2.processes import MOST_WORKERS
from spanetv2.training.loggers import read_loggers

__all__ = [
    "BaseRunConfig",
    "CheckpointConfig",
    "EmaConfig",
    "LoadingConfig",
    "OptimizerConfig",
    "ScheduleConfig",
    "check",
    "check_magnitudes",
    "check_sides",
    "check_trainer",
]


LEAST_SIDE = 8
"""Of what a dense network is shown, in pixels: a stem of stride 4 has tokens from 3 on."""
_LARGEST = 10**15
"""Of any number that is told."""
_LEAST = {
    "num_nodes": 1,
    "check_val_every_n_epoch": 1,
    "num_sanity_val_steps": -1,
    "limit_val_batches": 0,
    "min_epochs": 0,
    "max_epochs": -1,
}
"""Of the Trainer's options that have no other check."""


_KINDS_WITH = {
    "decay_epochs": ("step", "wsd"),
    "decay_rate": ("step", "multistep", "poly"),
    "decay_milestones": ("multistep",),
}
"""The kinds of schedule that an option of its own acts on."""


def check(condition: bool, name: str, value: object, expected: str) -> None:
    """Refuse an option's value.

    Raises:
        UserError: the condition does not hold.
    """
    if not condition:
        raise UserError(f"{name} is {value!r}, expected {expected}")


def check_sides(name: str, value: object) -> None:
    """Refuse images too small for a network.

    Args:
        name: of the option.
        value: a side, several, or None for none.

    Raises:
        UserError: one of them is.
    """
    sides = [value] if isinstance(value, int) else cast("Sequence[int]", value or ())
    check(all(side >= LEAST_SIDE for side in sides), name, value, f"at least {LEAST_SIDE} pixels")


def check_magnitudes(value: Any, name: str = "") -> None:
    """Refuse numbers that no computation holds, wherever they stand.

    Args:
        value: a number, or groups, mappings and lists of them; anything else is left alone.
        name: of the option.

    Raises:
        UserError: not a number, infinite, or larger than what arrays count with.
    """
    if is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        for key, item in value.items():
            check_magnitudes(item, f"{name}.{key}".removeprefix("."))
    elif isinstance(value, list | tuple):
        for item in value:
            check_magnitudes(item, name)
    elif isinstance(value, int | float):
        check(abs(value) <= _LARGEST, name, value, "a number of at most 15 digits")


def check_trainer(options: Mapping[str, Any]) -> None:
    """Refuse values that Lightning's Trainer takes and does not act on, or not as they say.

    Args:
        options: keyword arguments of the Trainer.

    Raises:
        UserError: such a value.
    """
    value = options.get("gradient_clip_val")
    expected = "more than 0, or null for no clipping"
    check(value is None or 0 <= value < inf, "trainer.gradient_clip_val", value, expected)
    value = options.get("limit_train_batches")
    expected = "1 batch or more, or a share above 0 and up to 1.0"
    good = value is None or (value > 0 and (isinstance(value, int) or value <= 1))
    check(good, "trainer.limit_train_batches", value, expected)
    for name, least in _LEAST.items():
        value = options.get(name)
        check(value is None or value >= least, f"trainer.{name}", value, f"{least} or more")
    value = options.get("max_steps")
    expected = "updates, or -1 for no limit"
    check(value is None or value >= -1, "trainer.max_steps", value, expected)


@dataclass(kw_only=True)
class LoadingConfig:
    """How many images at a time, and how they are read.

    Args:
        total_batch: images per optimiser update, over all devices.
        batch_size: images per device at a time; null divides total_batch by the devices.
        accumulation: passes per update; null is what makes up total_batch.
        val_batch_size: images per device in validation; null is the same as in training.
        workers: loading processes per device.
        pin_memory: page-locked memory for faster copies to a GPU; null where there is one.
        persistent_workers: keep the loading processes between epochs.
        max_pixels: most pixels of an image; null is Pillow's limit.
        empty_classes: stop at a class that there is nothing to learn of, or keep it. A run that
            goes on keeps it: what it learns was settled when it began.
    """

    total_batch: int = 128
    batch_size: int | None = None
    accumulation: int | None = None
    val_batch_size: int | None = None
    workers: int = 2
    pin_memory: bool | None = None
    persistent_workers: bool = False
    max_pixels: int | None = None
    empty_classes: EmptyClasses = "stop"

    def __post_init__(self) -> None:
        check(self.total_batch > 0, "data.total_batch", self.total_batch, "1 or more")
        for name in ("batch_size", "accumulation", "val_batch_size", "max_pixels"):
            value = getattr(self, name)
            check(value is None or value > 0, f"data.{name}", value, "1 or more")
        most = f"0 to {MOST_WORKERS} processes"
        check(0 <= self.workers <= MOST_WORKERS, "data.workers", self.workers, most)


@dataclass(kw_only=True)
class OptimizerConfig:
    """The optimiser (timm's).

    Args:
        name: adamw, lamb, sgd or any other of timm's.
        lr: peak learning rate, for the whole batch; never scaled behind your back.
        weight_decay: weight decay; biases and one-dimensional parameters are left out.
        decay_all: decay those too.
        layer_decay: factor between the rates of neighbouring layers, for fine-tuning; null is off.
        betas: the two Adam averages; null is timm's default.
        eps: null is timm's default.
        momentum: for optimisers that have one.
        kwargs: further keyword arguments of the optimiser.
    """

    name: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    decay_all: bool = False
    layer_decay: float | None = None
    betas: tuple[float, float] | None = None
    eps: float | None = None
    momentum: float = 0.9
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(0 < self.lr < inf, "optimizer.lr", self.lr, "more than 0, and finite")
        check(
            0 <= self.weight_decay < inf,
            "optimizer.weight_decay",
            self.weight_decay,
            "a finite number, 0 or more",
        )
        value = self.layer_decay
        check(value is None or 0 < value <= 1, "optimizer.layer_decay", value, "between 0 and 1")
        for value in self.betas or ():
            check(0 <= value < 1, "optimizer.betas", self.betas, "two numbers from 0 to below 1")
        check(0 <= self.momentum < inf, "optimizer.momentum", self.momentum, "0 or more")
        value = self.eps
        check(value is None or 0 <= value < inf, "optimizer.eps", value, "0 or more")


@dataclass(kw_only=True)
class ScheduleConfig:
    """The learning rate over time (timm's schedulers).

    A run lasts trainer.max_epochs, or so many updates where that is given.

    Args:
        name: cosine, poly, step, multistep, tanh, wsd or constant.
        step: change the rate once an epoch or at every update.
        updates: length of the run in updates, instead of trainer.max_epochs: the data set is then
            gone through as one endless stream.
        validate_every: updates between two validations, where the run is counted in updates; null
            is a tenth of the run. A divisor of updates.
        warmup_epochs: epochs of linear warm-up, part of the total.
        warmup_updates: the same in updates; what decays smoothly then does so over what is left,
            milestones stay where they are.
        warmup_lr: rate at which the warm-up starts.
        min_lr: lowest rate after the warm-up; of a layer with layer_decay, its share of it.
        cooldown_epochs: last epochs, held at min_lr, part of the total.
        decay_epochs: interval of `step` (null is 90 epochs), last phase of `wsd` (a share of what
            follows the warm-up if below 1; null is 0.2 of it); updates in a run counted in updates.
        decay_rate: factor of `step` and `multistep`, power of `poly`.
        decay_milestones: epochs, counted from 0, from which on `multistep` has decayed; updates in
            a run counted in updates.
        begin: epoch (update, in a run counted in updates) at which all of this begins; --extend
            sets it, so that what is added to a run has a schedule of its own.
    """

    name: Literal["cosine", "poly", "step", "multistep", "tanh", "wsd", "constant"] = "cosine"
    step: Literal["epoch", "update"] = "update"
    updates: int | None = None
    validate_every: int | None = None
    warmup_epochs: int = 0
    warmup_updates: int | None = None
    warmup_lr: float = 1e-6
    min_lr: float = 0.0
    cooldown_epochs: int = 0
    decay_epochs: float | None = None
    decay_rate: float = 0.1
    decay_milestones: list[int] = field(default_factory=lambda: [90, 180, 270])
    begin: int = 0

    def __post_init__(self) -> None:
        for name in ("warmup_epochs", "cooldown_epochs", "warmup_lr", "min_lr", "decay_rate"):
            value = getattr(self, name)
            check(0 <= value < inf, f"schedule.{name}", value, "a finite number, 0 or more")
        value = self.decay_epochs
        check(value is None or 0 < value < inf, "schedule.decay_epochs", value, "more than 0")
        value = self.decay_milestones
        check(all(m >= 0 for m in value), "schedule.decay_milestones", value, "places from 0 on")
        for name in ("updates", "validate_every", "warmup_updates"):
            value = getattr(self, name)
            check(value is None or value > 0, f"schedule.{name}", value, "1 or more")
        most = self.updates or inf
        check(0 <= self.begin < most, "schedule.begin", self.begin, "a place within the run")
        if self.warmup_updates is not None or self.updates is not None:
            check(self.step == "update", "schedule.step", self.step, "update, to count in updates")
            value = self.warmup_epochs
            check(value == 0, "schedule.warmup_epochs", value, "0; give schedule.warmup_updates")
        if self.updates is not None:
            value = self.cooldown_epochs
            check(value == 0, "schedule.cooldown_epochs", value, "0 in a run counted in updates")
            rest = self.updates % self.validation_interval
            expected = f"a divisor of schedule.updates={self.updates}"
            check(rest == 0, "schedule.validate_every", self.validation_interval, expected)
        elif self.validate_every is not None:
            expected = "null: runs counted in epochs validate after each"
            check(False, "schedule.validate_every", self.validate_every, expected)

    @property
    def validation_interval(self) -> int:
        """Updates between two validations of a run counted in updates."""
        assert self.updates is not None
        return self.validate_every or max(1, self.updates // 10)


@dataclass(kw_only=True)
class EmaConfig:
    """Averaging of the weights over time (timm's ModelEmaV3).

    Args:
        decay: share of the average kept at each update, 0.9999 say; null is off.
        warmup: let the decay grow in the first updates, so that a short run is averaged too.
    """

    decay: float | None = None
    warmup: bool = True

    def __post_init__(self) -> None:
        check(self.decay is None or 0 < self.decay < 1, "ema.decay", self.decay, "below 1")


@dataclass(kw_only=True)
class CheckpointConfig:
    """What is kept, and how often.

    Args:
        every_steps: save after so many updates too, not only at the end of an epoch; 0 is off.
        every_epochs: save at the end of every so many epochs.
        monitor: the figure that the best checkpoint is chosen by; null is the task's first.
        export: the weights.safetensors of the end are those of the last or of the best epoch.
    """

    every_steps: int = 500
    every_epochs: int = 1
    monitor: str | None = None
    export: Literal["last", "best"] = "last"

    def __post_init__(self) -> None:
        check(self.every_steps >= 0, "checkpoints.every_steps", self.every_steps, "0 or more")
        check(self.every_epochs > 0, "checkpoints.every_epochs", self.every_epochs, "1 or more")


@dataclass(kw_only=True)
class BaseRunConfig:
    """What a run of any task can be told, beside the Trainer's own options.

    Args:
        out: the run folder.
        seed: the run is a function of it (and of the hardware).
        weights: checkpoint to start from.
        log_every: updates between two lines of the log.
        loggers: further logs: csv, tensorboard, wandb or mlflow, one or several, each a name or a
            mapping with options.
        data: the images.
        optimizer: the optimiser.
        schedule: the learning rate over time.
        ema: averaging of the weights.
        checkpoints: what is kept.
    """

    out: str | None = None
    seed: int = 42
    weights: str | None = None
    log_every: int = 50
    loggers: list[str | dict[str, Any]] | str | dict[str, Any] | None = None
    data: LoadingConfig = field(default_factory=LoadingConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    checkpoints: CheckpointConfig = field(default_factory=CheckpointConfig)

    def __post_init__(self) -> None:
        check(self.log_every > 0, "log_every", self.log_every, "1 or more")
        check(0 <= self.seed < 2**32, "seed", self.seed, "a whole number from 0 to 4294967295")
        lr, schedule = self.optimizer.lr, self.schedule
        peak = f"at most optimizer.lr={lr}"
        check(schedule.min_lr <= lr, "schedule.min_lr", schedule.min_lr, peak)
        if schedule.warmup_epochs or schedule.warmup_updates:
            check(schedule.warmup_lr <= lr, "schedule.warmup_lr", schedule.warmup_lr, peak)
        read_loggers(self.loggers)

    def idle_options(self) -> dict[str, str]:
        """Options that do nothing beside the others, with what to do instead, by their place."""
        schedule = self.schedule
        idle = {}
        if schedule.updates is not None:
            also = "" if schedule.validate_every is None else " and schedule.validate_every"
            expected = (
                f"none beside schedule.updates={schedule.updates}, which counts: give "
                f"schedule.updates alone, or null for it{also} in a run counted in epochs"
            )
            idle |= {"trainer.max_epochs": expected, "trainer.min_epochs": expected}
        for name, kinds in _KINDS_WITH.items():
            if schedule.name not in kinds:
                used = f"{', '.join(kinds)}: schedule.name is {schedule.name}; leave it out"
                idle[f"schedule.{name}"] = f"it with schedule.name {used}"
        if self.ema.decay is None:
            idle["ema.warmup"] = "ema.decay beside it, such as 0.9999: without, nothing is averaged"
        return idle
