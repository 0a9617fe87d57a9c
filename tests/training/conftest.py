"""Tiny runs: 8x8 digits, a 1 M parameter network, a handful of batches."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from spanetv2.cli.train import run_training
from spanetv2.scenes import SceneSettings, write_scenes
from tests.support.small_runs import small_run

sys.path.insert(0, str(Path(__file__).resolve().parent))
from training_runs import HERE, spawn_training

TINY = [
    *small_run("classification", "digits"),
    "--model.drop_path=0",
    "--trainer.limit_val_batches=1",
    "--augmentation.rotate=0",
    "--augmentation.shift=0",
    "--mixing.label_smoothing=0",
    "--trainer.limit_train_batches=4",
]
"""3 epochs of 4 batches of 16."""


class Runs:
    """Tiny trainings in one folder.

    Args:
        folder: where the run folders go.
    """

    tiny = TINY

    def __init__(self, folder: Path):
        self.folder = folder

    def train(self, name: str, *options: str) -> Path:
        """Run in this process; gives the run folder."""
        folder = self.folder / name
        run_training([*TINY, f"--out={folder}", *options])
        return folder

    def spawn(
        self, name: str, *options: str, launcher: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Run ``spanetv2 train`` in a process of its own."""
        arguments = [*TINY, f"--out={self.folder / name}", *options]
        return spawn_training(arguments, launcher=launcher)

    @staticmethod
    def stopper(**arguments: Any) -> str:
        """The option that puts a Stopper into a run."""
        callback = {"class_path": "stopper.Stopper", "init_args": arguments}
        return f"--trainer.callbacks={json.dumps([callback])}"

    @staticmethod
    def load(folder: Path, name: str = "last") -> dict[str, Any]:
        """A run's checkpoint."""
        return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)

    @classmethod
    def assert_same_weights(cls, a: Path, b: Path) -> None:
        """Every tensor of the last checkpoints is equal, bit by bit."""
        first, second = cls.load(a)["state_dict"], cls.load(b)["state_dict"]
        assert first.keys() == second.keys()
        assert not [name for name in first if not torch.equal(first[name], second[name])]


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.syspath_prepend(str(HERE))
    yield
    torch.set_num_threads(before)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """Tiny trainings in the test's own folder."""
    return Runs(tmp_path)


@pytest.fixture(scope="session")
def shared_runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The same, in a folder for the whole session."""
    return Runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """14 scenes to train on and 3 held out, of 96 x 96 pixels."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    return write_scenes(folder, train=14, val=3, settings=SceneSettings(size=96))
