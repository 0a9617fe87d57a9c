"""What may change when a run goes on, and where it then goes on."""

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from spanetv2.errors import UserError
from spanetv2.files import read_json
from spanetv2.plain_yaml import read_yaml
from spanetv2.training.batching import BatchPlan, limited_batches, plan_batches
from spanetv2.training.configuration import ResolvedRun, resolve
from spanetv2.training.data import TrainingData
from spanetv2.training.task import TrainingTask

__all__ = ["RECORD", "RunSoFar", "describe_progress", "fit_progress"]

RECORD = "spanetv2_run"
"""Key of a checkpoint: JSON, what ``describe_progress`` gives."""

_FREE = {
    "": ["task", "out", "log_every", "loggers"],
    # where the same data lie: their number and classes are compared
    "data": [
        *("workers", "pin_memory", "persistent_workers", "val_batch_size", "root", "class_file"),
        *("train_annotations", "train_images", "val_annotations", "val_images"),
        # what is refused, not what is learned
        *("max_pixels", "empty_classes", "allow_missing_classes"),
    ],
    "checkpoints": ["every_steps", "every_epochs", "export"],
    "model": ["form"],  # that of the checkpoint is taken
    "trainer": [
        *("max_steps", "max_time", "min_epochs", "callbacks", "profiler", "detect_anomaly"),
        *("check_val_every_n_epoch", "inference_mode", "num_sanity_val_steps"),
        "enable_progress_bar",
    ],
}
_ACTING = {
    "": ["schedule", "ema", "augmentation", "mixing", "class_weights", "auxiliary_weight"],
    "optimizer": ["lr"],
    "head": ["dropout"],
    "model": ["drop_path"],
    "trainer": ["gradient_clip_val", "gradient_clip_algorithm"],
}
_INEXACT = {
    "data": ["batch_size", "accumulation"],
    "model": ["compile", "channels_last", "grad_checkpointing"],
    "trainer": [
        *("devices", "num_nodes", "accelerator", "strategy", "precision", "sync_batchnorm"),
        *("deterministic", "benchmark", "limit_train_batches"),
    ],
}
_LENGTH = ["trainer.max_epochs", "schedule.updates", "schedule.begin"]
_NEVER = ["schedule.updates?", "schedule.validate_every", "ema.on", *_LENGTH]


class RunSoFar:
    """A run that is to go on: its options and numbers, against those it would go on with.

    Args:
        folder: the run folder.
        checkpoint: what it goes on from.
        task: what is trained.

    Attributes:
        ended: whether it has reached its length, once its options are compared.
        acting: whether one of them would act on the run as long as it was to be.
        unchanged: whether none of them changes anything about what the run leaves.
    """

    def __init__(self, folder: Path, checkpoint: Path, task: TrainingTask):
        content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        self.folder = folder
        self.task = task
        self.step = int(content["global_step"])
        self.epochs = int(content["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
        self.classes: list[str] | None = json.loads(content.get("spanetv2", "{}")).get("classes")
        self.numbers: dict[str, Any] = json.loads(content.get(RECORD, "{}"))
        # A run that 0.1.0 began ends as it would have ended there.
        self.ended = False
        self.acting = False
        self.unchanged = True
        self.means_of_passes = bool(self.numbers.get("means_of_passes", RECORD not in content))
        self._accumulation = _accumulation(content)
        self._options = self.numbers.pop("config", None) or _saved_options(folder)

    def compare_options(self, run: ResolvedRun) -> list[str]:
        """Decide whether the run may go on with a configuration.

        Returns:
            Lines that say what is other than before.

        Raises:
            UserError: an option that would not act, or would spoil what is there.
        """
        if self._options is None:
            return []
        before = resolve(self.task, [{**self._options, "out": run.plain["out"]}])
        old, new = (self._flat(r) for r in (before, run))
        changed = [key for key in new if key in old and old[key] != new[key]]
        self.ended = self.epochs >= _epochs(before)
        lines = []
        if "schedule.begin" in changed:
            lines.append(self._extension(before, run))
            changed = [key for key in changed if key not in _LENGTH]
        if wrong := [key for key in changed if _kind(key) == "refused"]:
            got = ", ".join(f"{_shown(key)}={_text(new[key])}" for key in wrong)
            expected = ", ".join(_text(old[key]) for key in wrong)
            raise UserError(
                f"got {got}, expected {expected} as {self.folder} was trained with so far: it does "
                "not act on a run that goes on; leave it out, or start another run with --weights"
                + (", or --extend the run once it is finished" if {*wrong} & {*_LENGTH} else "")
            )
        acting = [key for key in changed if _kind(key) == "acting"]
        inexact = [key for key in changed if _kind(key) == "inexact"]
        self.acting = bool(acting or inexact) and not lines
        self.unchanged = not (lines or acting or inexact or "checkpoints.export" in changed)
        for keys, told in (
            (acting, "from here on"),
            (inexact, "from here on no longer bit by bit what an uninterrupted run gives"),
        ):
            what = ", ".join(f"{key} {_text(new[key])} (was {_text(old[key])})" for key in keys)
            lines += [f"{told}: {what}"] if keys else []
        return lines

    def _extension(self, before: ResolvedRun, run: ResolvedRun) -> str:
        """What to say of a longer run with a new schedule for what is added.

        Raises:
            UserError: the run so far is not finished, or it would be extended from elsewhere.
        """
        unit, end, begin = "epoch", _length(before), run.config.schedule.begin
        if run.config.schedule.updates is not None:
            unit = "update"
        if not self.ended:
            place = self.step if unit == "update" else self.epochs
            raise UserError(
                f"{self.folder} is at {unit} {place} of {end}, expected a finished run to extend; "
                "go on with --resume first"
            )
        if begin != end or _length(run) <= end:
            raise UserError(
                f"got {unit}s {begin} to {_length(run)}, expected some that begin at {end}, where "
                f"{self.folder} has its newest checkpoint; go on with --resume first, or say "
                f"--extend with the {unit}s to add"
            )
        return f"extended from {end} to {_length(run)} {unit}s, with a new schedule from here on"

    @functools.cached_property
    def metrics(self) -> dict[str, Any] | None:
        """Of a run that has reached its length and left its weights; None for others."""
        try:
            metrics = read_json(self.folder / "metrics.json", expected="the figures of a run")
            measured = metrics["training"]["updates"] == self.step
        except (OSError, ValueError, LookupError, TypeError):
            return None
        there = (self.folder / "weights.safetensors").is_file()
        return metrics if self.ended and measured and there else None

    def nothing_to_do(self, changes: Sequence[str]) -> str | None:
        """What to say of a finished run that is not extended; None where there is work left.

        Args:
            changes: what ``compare_options`` found.

        Raises:
            UserError: an option that would not act any more.
        """
        if self.metrics is None:
            return None
        more = "--extend goes on from its last weights with a new schedule"
        if self.unchanged:
            return f"{self.folder} is finished, after update {self.step:,}: nothing to do; {more}"
        if self.acting:
            raise UserError(
                f"{self.folder} is finished, after update {self.step:,}, so that a change would not"
                f" act ({'; '.join(changes)}); leave it out, or say --extend: {more[9:]}"
            )
        return None

    def compare_data(self, data: TrainingData, *, told: bool) -> list[str]:
        """Decide whether the run may go on with the files that are there now.

        Args:
            data: opened.
            told: whether the user said that they changed.

        Returns:
            A line where they did, and where a stream comes in another order.

        Raises:
            UserError: they did and nobody said so.
        """
        lines, lanes = [], self.numbers.get("lanes")
        if lanes is not None and data.lanes not in (None, lanes):
            lines.append(
                f"a stream read by {data.lanes} loading processes (was {lanes}) comes in another "
                "order; from here on no longer bit by bit what an uninterrupted run gives"
            )
        old, new = self.numbers.get("fingerprint"), data.fingerprint()
        if None in (old, new) or old == new:
            return lines
        if not told:
            raise UserError(
                "got training data with other files or labels than "
                f"{self.folder} was trained with so far ({data.describe()}); give the same data, "
                "go on with these by --changed-data, or start another run with --weights"
            )
        return [
            *lines,
            "the training data have other files or labels; from here on no longer bit by bit what "
            "an uninterrupted run gives",
        ]

    def compare_numbers(
        self, data: TrainingData, classes: list[str] | None, *, told: bool = False
    ) -> None:
        """Decide whether the run may go on with its data and batches.

        Args:
            data: opened.
            classes: names of the network's classes, None if they have none.
            told: whether the user said that the data changed.

        Raises:
            UserError: other data, updates of another size, or epochs of another length.
        """
        old, new = self._numbers_before(data), _numbers(data)
        if told:
            old = {**old, "training_images": None}
        for key, what in (
            ("training_images", "{} training images"),
            ("images_per_update", "updates of {} images"),
            ("updates_per_epoch", "epochs of {} updates"),
        ):
            if None not in (old.get(key), new[key]) and old[key] != new[key]:
                advice = (
                    "give the same data"
                    if key == "training_images"
                    else "choose a data.batch_size that divides the update, and "
                    "trainer.limit_train_batches for it"
                )
                raise UserError(
                    f"got {what.format(new[key])}, expected {old[key]} as {self.folder} was "
                    f"trained with so far; {advice}"
                )
        if None not in (self.classes, classes) and self.classes != classes:
            raise UserError(
                f"got classes {', '.join(classes or [])[:100]}, expected "
                f"{', '.join(self.classes or [])[:100]} as {self.folder} was trained with so far; "
                "start another run with --weights"
            )

    def _numbers_before(self, data: TrainingData) -> dict[str, Any]:
        if self.numbers or self._options is None:
            return self.numbers
        # A checkpoint of 0.1.0: the plan it was trained with follows from its configuration.
        loading, trainer = self._options.get("data", {}), self._options.get("trainer", {})
        devices = str(trainer.get("devices", "auto"))
        nodes = int(trainer.get("num_nodes") or 1)
        plan = plan_batches(
            int(loading.get("total_batch") or data.config.total_batch),
            devices=int(devices) * nodes if devices.isdigit() else data.plan.devices,
            per_device=loading.get("batch_size"),
            accumulation=loading.get("accumulation"),
        )
        if plan.accumulation != self._accumulation:
            return {}  # on other machines than this one
        limit, length = trainer.get("limit_train_batches"), data.length()
        epoch = None
        if data.updates is None and length is not None:
            batches = length // (plan.per_device * plan.devices)
            limit = 1.0 if limit is None else limit
            epoch = limited_batches(batches, limit) // plan.accumulation
        return {"images_per_update": plan.total, "updates_per_epoch": epoch}

    def _flat(self, run: ResolvedRun) -> dict[str, Any]:
        """Options by their dotted places; what stands for another value is that value."""
        values = flatten(run.plain)
        config = run.config
        counted = config.schedule.updates is not None
        values["checkpoints.monitor"] = config.checkpoints.monitor or self.task.figures[0]
        values["ema.on"] = config.ema.decay is not None
        values["schedule.updates?"] = counted
        interval = config.schedule.validation_interval if counted else None
        values["schedule.validate_every"] = interval
        if not values["ema.on"]:
            del values["ema.decay"]
        return values


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested groups by dotted places.

    Example:
        >>> flatten({"a": {"b": 1}, "c": [2]})
        {'a.b': 1, 'c': [2]}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _length(run: ResolvedRun) -> int:
    """Of a run, in what it is counted in."""
    return run.config.schedule.updates or run.trainer_options["max_epochs"]


def _epochs(run: ResolvedRun) -> int:
    """Of a run; in one counted in updates, the stretches between two validations."""
    schedule = run.config.schedule
    if schedule.updates is None:
        return run.trainer_options["max_epochs"]
    return schedule.updates // schedule.validation_interval


def _kind(key: str) -> str:
    if key in _NEVER:
        return "refused"
    group, _, name = key.partition(".")
    for kind, known in (("free", _FREE), ("acting", _ACTING), ("inexact", _INEXACT)):
        if group in known.get("", ()) or name in known.get(group, ()):
            return kind
    return "refused"


def _shown(key: str) -> str:
    return {"ema.on": "ema", "schedule.updates?": "schedule.updates"}.get(key, key)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# numbers ------------------------------------------------------------------------------------------


def _numbers(data: TrainingData) -> dict[str, Any]:
    batches = None if data.updates is not None else data.batches_per_epoch
    return {
        "training_images": data.length(),
        "images_per_update": data.plan.total,
        "updates_per_epoch": None if batches is None else batches // data.plan.accumulation,
        "accumulation": data.plan.accumulation,
        "fingerprint": data.fingerprint(),
        "lanes": data.lanes,
    }


def describe_progress(
    run: ResolvedRun, data: TrainingData, *, means_of_passes: bool, form: str
) -> str:
    """What a checkpoint keeps so that the run may go on from it: JSON.

    Args:
        run: its configuration.
        data: opened.
        means_of_passes: the module's.
        form: the module's.
    """
    numbers = {**_numbers(data), "means_of_passes": means_of_passes, "form": form}
    return json.dumps({"config": run.plain, **numbers})


def _saved_options(folder: Path) -> dict[str, Any] | None:
    """What ``config.yaml`` of a run of 0.1.0 says, without classes that it may name."""
    try:
        values = read_yaml(folder / "config.yaml", expected="the configuration of a run")
    except UserError:
        return None
    if not isinstance(values, dict):
        return None
    if isinstance(values.get("trainer"), dict):
        values["trainer"].pop("callbacks", None)
    return values


def _accumulation(checkpoint: Mapping[str, Any]) -> int | None:
    """Batches of an update in the run so far: checkpoints are written between updates only."""
    steps = int(checkpoint["global_step"])
    ready = _progress(checkpoint)["total"]["ready"]
    return ready // steps if steps and ready % steps == 0 else None


def _progress(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    return checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]


def fit_progress(checkpoint: dict[str, Any], plan: BatchPlan, *, data: str, log: str) -> None:
    """Say where a checkpoint was in batches of a plan, which may be smaller or larger than its own.

    The place in the data is kept in images; batches of 0.1.0 are converted.

    Args:
        checkpoint: changed in place.
        plan: how updates are put together from here on.
        data: key of the data's state.
        log: key of the log's state.
    """
    before = _accumulation(checkpoint) or plan.accumulation
    state = checkpoint.get(data)
    if state is not None and "batch" in state:
        images = plan.total // before
        epoch, batch = state["epoch"], state["batch"]
        checkpoint[data] = {"epoch": epoch, "image": batch * images, "order": images}
    if before == plan.accumulation:
        return
    for counts in (_progress(checkpoint)[part] for part in ("total", "current")):
        open_ = counts["ready"] - counts["completed"]  # the last one, in the hook that saved
        for key in ("ready", "started", "processed"):
            counts[key] = counts[key] // before * plan.accumulation
        counts["completed"] = counts["ready"] - open_
    logged = checkpoint.get("callbacks", {}).get(log)
    if logged and logged["loss"] is not None:
        logged["loss"] *= plan.accumulation / before
        logged["batches"] = logged["batches"] * plan.accumulation // before
