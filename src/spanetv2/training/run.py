"""A whole training run: from a configuration to a folder with weights and metrics."""

import contextlib
import copy
import dataclasses
import logging
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback

from spanetv2.errors import Interrupted, UserError
from spanetv2.files import read_json, write_json, write_text
from spanetv2.models.weights.source import local_path
from spanetv2.processes import describe_death
from spanetv2.training.batching import is_all, plan_batches
from spanetv2.training.checkpoints import (
    LAST,
    PREVIOUS,
    RunCheckpoints,
    find_checkpoint,
    set_aside_broken,
)
from spanetv2.training.config import BaseRunConfig, check, check_trainer
from spanetv2.training.configuration import ResolvedRun
from spanetv2.training.data import TrainingData
from spanetv2.training.export import export_weights
from spanetv2.training.finite import GradientWatch
from spanetv2.training.form import settle_form
from spanetv2.training.loggers import RunLoggers, check_packages
from spanetv2.training.logs import RunLog, TrainingLog
from spanetv2.training.progress import RunProgress
from spanetv2.training.ranks import ending_together, follow_first, keeping_place
from spanetv2.training.record import describe_run
from spanetv2.training.resume import RECORD, RunSoFar, describe_progress
from spanetv2.training.run_folder import (
    CHECKPOINTS,
    LOGS,
    RunLock,
    clear_run,
    refuse_foreign,
    remove_leftovers,
)
from spanetv2.training.schedule import lowered_warmup
from spanetv2.training.seeding import seed_all
from spanetv2.training.stopping import Watch, early_stop
from spanetv2.training.task import TrainingTask
from spanetv2.training.trainer import check_devices, make_trainer

__all__ = ["RunResult", "check_run", "rank", "run_task", "say"]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A finished run.

    Args:
        folder: the run folder.
        weights: the weights file in it.
        metrics: content of its metrics.json; empty on all processes but the first.
    """

    folder: Path
    weights: Path
    metrics: dict[str, Any]


def rank() -> int:
    """The number of this process among those of the run, before anything is set up."""
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return int(os.environ.get("NODE_RANK", "0") != "0")  # some process of another node


def say(text: str) -> None:
    """Tell the user something, once."""
    if rank() == 0:
        print(text, file=sys.stderr, flush=True)


def check_run(folder: Path) -> None:
    """Refuse to extend what is not there.

    Raises:
        UserError: the folder holds no run.
    """
    if find_checkpoint(folder / CHECKPOINTS)[0] is None:
        raise UserError(f"{folder} holds no checkpoint of a run, expected a finished run to extend")


def run_task(
    task: TrainingTask,
    run: ResolvedRun,
    *,
    command: str,
    resume: bool = False,
    overwrite: bool = False,
    changed_data: bool = False,
) -> RunResult:
    """Train, evaluate and export a model.

    Args:
        task: what to train.
        run: its configuration.
        command: how the run was started, for the record.
        resume: go on from the run folder's last checkpoint, if there is one.
        overwrite: delete what an earlier run left in the folder.
        changed_data: the training data may be others than those of the run so far.

    Raises:
        UserError: wrong input, or another run in the folder; also a loss that became NaN or
            infinite, or too little memory.
        Interrupted: a signal stopped the run, after saving.
    """
    assert run.config.out is not None
    if "LOCAL_RANK" in os.environ:
        out = Path(run.config.out)
        follow_first(lambda: _how_to_go_on(task, out))
    with keeping_place(), RunLock(Path(run.config.out), here=rank() == 0) as lock:
        lock.take(make=False)
        return _run(
            task,
            run,
            lock,
            command=command,
            resume=resume,
            overwrite=overwrite,
            changed_data=changed_data,
        )


def _run(
    task: TrainingTask,
    run: ResolvedRun,
    lock: RunLock,
    *,
    command: str,
    resume: bool,
    overwrite: bool,
    changed_data: bool,
) -> RunResult:
    config, folder = run.config, lock.folder
    weights = folder / "weights.safetensors"
    check_packages(config.loggers)
    checkpoint = _start_from(folder, resume=resume, overwrite=overwrite)
    so_far = None if checkpoint is None else RunSoFar(folder, checkpoint, task)
    changes = [] if so_far is None else so_far.compare_options(run)
    if so_far is not None and (told := so_far.nothing_to_do(changes)):
        say(told)
        return RunResult(folder=folder, weights=weights, metrics=so_far.metrics or {})
    if not resume:
        _keep_start(folder, config.weights)
    seed_all(config.seed)
    options = dict(run.trainer_options)
    check_trainer(options)
    max_steps = options.pop("max_steps", None)
    extra_callbacks = options.pop("callbacks", None) or []
    if isinstance(extra_callbacks, Callback):
        extra_callbacks = [extra_callbacks]
    if config.schedule.updates is not None:
        options["max_epochs"] = config.schedule.updates // config.schedule.validation_interval
    max_epochs = options.get("max_epochs")
    check(max_epochs is not None and max_epochs >= 1, "trainer.max_epochs", max_epochs, "1 or more")
    if config.ema.decay is not None and options.get("precision") in ("16-true", "bf16-true"):
        raise UserError(
            f"ema.decay with trainer.precision={options['precision']} would average in half "
            "precision, which loses the updates; use bf16-mixed"
        )
    check_devices(options)
    with _quiet():
        trainer = make_trainer(options, say=say)
    plan = plan_batches(
        config.data.total_batch,
        devices=trainer.world_size,
        per_device=config.data.batch_size,
        accumulation=config.data.accumulation,
        even=task.even_batches(config),
    )
    updates = config.schedule.updates
    expected = f"null: a {task.name} run is counted in epochs, trainer.max_epochs"
    check(updates is None or task.in_updates, "schedule.updates", updates, expected)
    if so_far is not None:
        config = copy.copy(config)
        config.data = dataclasses.replace(config.data, empty_classes="keep")
    pin, on_gpu = config.data.pin_memory, trainer.strategy.root_device.type == "cuda"
    pin_note = "data.pin_memory does nothing without a GPU" if pin and not on_gpu else ""
    data = task.open_data(
        config,
        plan=plan,
        pin_memory=on_gpu and pin is not False,
        limit=trainer.limit_train_batches,
    )
    if updates is not None:
        limited = trainer.limit_train_batches
        expected = "null: schedule.updates is the length of the run"
        check(is_all(limited), "trainer.limit_train_batches", limited, expected)
    figures, headline = data.figures or task.figures, data.headline or task.headline
    monitor = _monitor(figures, config)
    data.fit_plan(even=task.even_batches(config))
    plan = data.plan
    trainer.accumulate_grad_batches = plan.accumulation
    config, warmup_note = _fit_warmup(config, options["max_epochs"], data)
    module = task.make_module(config, data)
    module.make_optimizer()  # what is wrong with it is told before anything is written
    recorded = None if so_far is None else so_far.numbers
    module.form, form_note = settle_form(config, trainer, recorded)
    lines = [f"run folder: {config.out}", f"data: {data.describe()}", *data.remarks]
    lines += [f"model: {module.describe()}", form_note, str(plan), warmup_note, pin_note]
    say("\n".join(line for line in lines if line))
    limit = data.batches_per_epoch
    if limit is not None:
        trainer.limit_train_batches = limit
    if not data.has_validation:
        trainer.limit_val_batches = 0

    step = None if so_far is None else so_far.step
    if so_far is not None:
        changes += so_far.compare_data(data, told=changed_data)
        so_far.compare_numbers(data, module.identity.get("classes"), told=changed_data)
        module.means_of_passes = so_far.means_of_passes
        say("\n".join([f"resuming from {checkpoint}, after update {step:,}", *changes]))
    by_value = trainer.gradient_clip_algorithm == "value"
    gradients = GradientWatch(
        clip=None if by_value else trainer.gradient_clip_val,
        scaled=trainer.precision == "16-mixed",
        say=say,
    )
    watch = Watch(folder / CHECKPOINTS / "last.ckpt", gradients)
    log = TrainingLog(config.log_every, plan)
    saver = RunCheckpoints(
        folder / CHECKPOINTS,
        config.checkpoints,
        watch,
        monitor=monitor,
        max_steps=None if max_steps in (None, -1) else max_steps,
        record={
            RECORD: describe_progress(
                run, data, means_of_passes=module.means_of_passes, form=module.form
            )
        },
    )
    progress = []
    if options.get("enable_progress_bar") is not False:
        shown = RunProgress(plan, log, figure=figures[0], headline=headline, updates=data.updates)
        progress = [shown]
    callbacks = trainer.callbacks  # pyright: ignore[reportAttributeAccessIssue]
    callbacks[:] = [*callbacks, watch, log, *progress, *extra_callbacks, saver]
    # nothing is written before everything else was in order
    if lock.take() and not resume:
        _start_from(folder, resume=False, overwrite=overwrite)  # nobody was faster
    if rank() == 0:
        about = describe_run(command)
        lock.sign(about["started"])
        remove_leftovers(folder)
        if overwrite:
            clear_run(folder)
        if checkpoint is not None and checkpoint.name == PREVIOUS:
            set_aside_broken(checkpoint.parent)
        write_text(folder / "config.yaml", run.text)
        _write_versions(folder, about, step, left_out=run.left_out)
    further = RunLoggers(config.loggers, folder=folder, resumed=step is not None)
    run_log = RunLog(folder / LOGS, figures=figures, resume_step=step)
    trainer.loggers = [run_log, *further.loggers]
    if rank() == 0:
        further.begin(run.plain if step is None else None)

    try:
        with (
            _quiet(),
            _memory_advice(plan.per_device, task.image_size(config)),
            ending_together(trainer, lambda: _how_to_go_on(task, folder)),
        ):
            trainer.fit(module, datamodule=data, ckpt_path=checkpoint)
    except Interrupted as error:
        raise _interrupted(task, error.status - 128, folder, str(error)) from None
    finally:
        watch.uninstall()
        # after an error in validation Lightning leaves training's loading processes waiting
        trainer.fit_loop.teardown()
    if watch.signal is not None:
        raise _interrupted(task, watch.signal, folder)
    if saver.max_steps is None and (told := early_stop(trainer)) is not None:
        say(told)
    if not trainer.is_global_zero:
        return RunResult(folder=folder, weights=weights, metrics={})
    metrics = export_weights(task, module, data, config, folder=folder, log=log, saver=saver)
    return RunResult(folder=folder, weights=weights, metrics=metrics)


def _fit_warmup(
    config: BaseRunConfig, epochs: int, data: TrainingData
) -> tuple[BaseRunConfig, str]:
    """The configuration with a warm-up that the run is long enough for, and what to say of it."""
    batches = data.batches_per_epoch
    updates = None if batches is None else batches // data.plan.accumulation
    schedule, note = lowered_warmup(config.schedule, epochs=epochs, updates_per_epoch=updates)
    if note:
        config = copy.copy(config)
        config.schedule = schedule
    return config, note


def _monitor(figures: Sequence[str], config: BaseRunConfig) -> str:
    wanted = config.checkpoints.monitor
    if wanted is not None and wanted not in figures:
        raise UserError(f"checkpoints.monitor is {wanted!r}, expected one of {', '.join(figures)}")
    return wanted or figures[0]


def _start_from(folder: Path, *, resume: bool, overwrite: bool) -> Path | None:
    """The checkpoint to go on from, None to begin; refuses a folder that holds another run."""
    checkpoints = folder / CHECKPOINTS
    if resume:
        found, remark = find_checkpoint(checkpoints)
        if remark:
            say(remark)
        if found is not None:
            return found
        say(f"nothing to resume in {folder}: starting from the beginning")
    if rank() != 0:
        return None
    refuse_foreign(folder)
    if ((folder / "weights.safetensors").is_file() or any(checkpoints.glob("*.ckpt"))) and (
        not overwrite
    ):
        how = "no checkpoint of it is left to resume" if resume else "go on with --resume"
        raise UserError(
            f"{folder} already holds a run; {how}, replace it with --overwrite, "
            "or choose another folder with --out"
        )
    return None


def _keep_start(folder: Path, weights: str | None) -> None:
    """Refuse to write over the weights that a run is to start from."""
    path = None if weights is None else local_path(weights)
    if path is not None and path.resolve().is_relative_to(folder.resolve()):
        raise UserError(
            f"got --weights {weights} in the folder of the run itself, expected "
            "weights elsewhere; choose another folder with --out"
        )


def _write_versions(
    folder: Path, about: dict[str, Any], step: int | None, *, left_out: dict[str, str]
) -> None:
    record = {**about, "left_out": left_out}
    path = folder / "versions.json"
    if step is not None and path.is_file():
        with contextlib.suppress(ValueError, AttributeError):  # damaged: written anew
            first = read_json(path, expected="the versions of a run")
            first.setdefault("resumed", []).append({"after_update": step, **record})
            record = first
    write_json(path, record)


def _interrupted(
    task: TrainingTask, number: int, folder: Path, reason: str | None = None
) -> Interrupted:
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    return Interrupted(
        f"{reason or 'stopped'} ({name}); {_how_to_go_on(task, folder)}", 128 + number
    )


def _how_to_go_on(task: TrainingTask, folder: Path) -> str:
    last = folder / CHECKPOINTS / LAST
    if not last.is_file():
        return "nothing was saved yet"
    command = f"spanetv2 train {task.name} --resume --out {shlex.quote(str(folder))}"
    return f"saved {last}; go on with: {command}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out Lightning's greetings, and warnings about what is deliberate here."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning", "timm.scheduler")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in (
            r".*does not have many workers.*",
            r".*module\(s\) in eval mode at the start of training.*",
            r".*dataloader is not resumable.*",  # the sampler is placed by TrainingData
            r".*smaller than the logging interval.*",
            r".*`IterableDataset` has `__len__` defined.*",
            r".*GPU available but not used.*",
            r".*isinstance\(treespec, LeafSpec\).*",
            r".*The dirpath .* exists.*",
            r"The `srun` command is available",
            r"Grad strides do not match bucket view strides",
        ):
            warnings.filterwarnings("ignore", message=message)
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextlib.contextmanager
def _memory_advice(per_device: int, size: str) -> Iterator[None]:
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if (told := describe_death(error)) is not None:
            raise UserError(told) from error
        text = str(error)
        device = isinstance(error, torch.OutOfMemoryError) or "out of memory" in text.lower()
        if not (device or isinstance(error, MemoryError) or "can't allocate memory" in text):
            raise
        raise UserError(
            f"out of {'device ' if device else ''}memory with {per_device} images of {size} per "
            f"device; lower --data.batch_size (say {max(1, per_device // 2)}; data.total_batch is "
            "kept by accumulation), or use --model.grad_checkpointing true or --trainer.precision "
            "bf16-mixed"
        ) from error
