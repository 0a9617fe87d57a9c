"""``spanetv2 train`` on tiny data, in this process and in one of its own."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from spanetv2.cli.train import run_training

__all__ = ["COMMAND", "HERE", "SceneRuns", "spawn_training"]

HERE = Path(__file__).resolve().parent
COMMAND = Path(sysconfig.get_path("scripts")) / "spanetv2"


def spawn_training(
    arguments: Sequence[str], *, launcher: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run ``spanetv2 train`` in a process of its own, on one thread, without a GPU.

    Args:
        arguments: of the command.
        launcher: options of Python that come before the command, such as a module to start it.
    """
    inherited = filter(None, [os.environ.get("PYTHONPATH")])
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE), *inherited]),
        "CUDA_VISIBLE_DEVICES": "",
    }
    return subprocess.run(
        [sys.executable, *launcher, str(COMMAND), "train", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


class SceneRuns:
    """Tiny trainings on scenes.

    Args:
        options: the task, and what makes its recipe tiny.
    """

    def __init__(self, options: Sequence[str]):
        self.options = list(options)

    def arguments(self, out: Path, scenes: Path, *options: str) -> list[str]:
        """Of the command."""
        return [*self.options, f"--data={scenes}", f"--out={out}", *options]

    def train(self, out: Path, scenes: Path, *options: str) -> Any:
        """Run in this process."""
        return run_training(self.arguments(out, scenes, *options))

    def spawn(
        self, out: Path, scenes: Path, *options: str, launcher: Sequence[str] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run in a process of its own."""
        return spawn_training(self.arguments(out, scenes, *options), launcher=launcher)

    def finished(self, scenes: Path, factory: pytest.TempPathFactory) -> Path:
        """A whole run on one thread, for a fixture of more than one test; gives its folder."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        out = factory.mktemp("runs") / "finished"
        self.train(out, scenes)
        torch.set_num_threads(before)
        return out
