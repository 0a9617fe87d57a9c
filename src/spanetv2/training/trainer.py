"""Lightning's Trainer as runs use it."""

import os
import re
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.strategies.launchers import (
    _MultiProcessingLauncher,
    _SubprocessScriptLauncher,
)

from spanetv2.errors import UserError
from spanetv2.training.checkpoints import SafeCheckpointIO
from spanetv2.training.ranks import RankLauncher

__all__ = ["check_devices", "make_trainer"]

_USUAL = ("auto", "ddp", "single_device")
_SHARDED = ("fsdp", "deepspeed", "modelparallel", "model_parallel", "tp", "xlafsdp")
_COPIES = re.compile(r"^ddp_(spawn|fork|notebook)")
"""Strategies that train in copies of this process, which take the trained network with them."""


_MOST_PER_CORE = 4


def check_devices(options: dict[str, Any]) -> None:
    """Refuse more processes on the CPU than it could run.

    Raises:
        UserError: too many.
    """
    devices, cores = str(options.get("devices")), os.cpu_count() or 1
    on_cpu = options.get("accelerator") == "cpu" or not torch.accelerator.is_available()
    if on_cpu and devices.isdigit() and int(devices) > _MOST_PER_CORE * cores:
        raise UserError(
            f"got trainer.devices={devices} on the CPU, expected at most {_MOST_PER_CORE} for each "
            f"of the {cores} cores; a device is a process"
        )


def _usable_strategy(strategy: Any, say: Callable[[str], None]) -> Any:
    """The strategy to take for one that was asked for.

    Raises:
        UserError: one that shards the network, so that a run would not leave what it promises, or
            is not known.
    """
    name = strategy if isinstance(strategy, str) else type(strategy).__name__
    folded = name.lower().removesuffix("strategy")
    if folded.startswith(_SHARDED):
        raise UserError(
            f"got trainer.strategy={name}, expected auto or ddp: it spreads the weights over the "
            "processes, while checkpoints, averages and weights.safetensors hold all of them; for "
            "memory, lower --data.batch_size or use --model.grad_checkpointing true"
        )
    if isinstance(strategy, str) and _COPIES.match(strategy):
        usual = _COPIES.sub("ddp", strategy)
        say(f"trainer.strategy {strategy} is taken as {usual}: the same, in processes of their own")
        strategy = usual
    usable = isinstance(strategy, DDPStrategy | SingleDeviceStrategy) or (
        isinstance(strategy, str) and (strategy in _USUAL or strategy.startswith("ddp_find_"))
    )
    if not usable:
        raise UserError(
            f"got trainer.strategy={name}, expected auto, ddp, ddp_find_unused_parameters_true or "
            "single_device: with others it is not known that a run goes on and ends as it should"
        )
    return strategy


def make_trainer(options: dict[str, Any], *, say: Callable[[str], None]) -> Trainer:
    """Lightning's Trainer with what every run decides for itself.

    Args:
        options: its other arguments.
        say: tells the user something.

    Raises:
        UserError: what it refuses, and strategies under which a run would not leave what it should.
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    options = {**options, "strategy": _usable_strategy(options.get("strategy", "auto"), say)}
    if options.get("sync_batchnorm") and not torch.cuda.is_available():
        options = {**options, "sync_batchnorm": False}  # PyTorch has it for GPUs only
        if options.get("devices") not in (1, "1"):
            say("batch norm is not synchronised between processes: there is no GPU")
    try:
        trainer = Trainer(
            **{
                **options,
                "logger": False,
                "callbacks": [],
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "use_distributed_sampler": False,  # ours knows the processes
                "plugins": [SafeCheckpointIO()],
            }
        )
    except (MisconfigurationException, ValueError, RuntimeError, TypeError) as error:
        raise UserError(f"trainer: {' '.join(str(error).split())}") from error
    launcher = trainer.strategy.launcher
    if isinstance(launcher, _MultiProcessingLauncher):
        raise UserError(
            "got several devices in a notebook, expected one, or `spanetv2 train` in a terminal "
            "for several; set trainer.devices 1"
        )
    if isinstance(launcher, _SubprocessScriptLauncher):
        trainer.strategy._launcher = RankLauncher(launcher)
    return trainer
