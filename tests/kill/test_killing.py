"""Equal runs are equal byte by byte, and the comparison after kills sees where they are not."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from spanetv2.cli.train import run_training
from tests.kill.killing import differences
from tests.support.small_runs import small_run

ROOT = Path(__file__).resolve().parents[2]
SHORT = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=3"]
SHORT += ["--trainer.limit_val_batches=1", "--schedule.warmup_epochs=0"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs with the same options."""
    place = tmp_path_factory.mktemp("runs")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in ("a", "b"):
        run_training([*small_run("classification", "digits"), *SHORT, f"--out={place / name}"])
    torch.set_num_threads(before)
    return place / "a", place / "b"


def test_equal_runs_have_equal_weights_byte_by_byte(finished: tuple[Path, Path]) -> None:
    first, second = (run / "weights.safetensors" for run in finished)
    assert first.read_bytes() == second.read_bytes()
    assert differences(*finished) == []


def _flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


def _step_on(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    content["global_step"] += 1
    torch.save(content, path)


def _cut_a_row(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def _lose(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("weights.safetensors", _flip_a_bit, "weights.safetensors: other bytes"),
        ("weights.safetensors", _lose, "weights.safetensors: other bytes"),
        ("checkpoints/last.ckpt", _step_on, "last.ckpt: another state"),
        ("checkpoints/last.ckpt", _lose, "last.ckpt: another state"),
        ("logs/metrics.csv", _cut_a_row, "metrics.csv: other rows"),
    ],
)
def test_a_run_that_differs_is_told_from_an_equal_one(
    finished: tuple[Path, Path],
    tmp_path: Path,
    name: str,
    change: Callable[[Path], None],
    said: str,
) -> None:
    other = shutil.copytree(finished[1], tmp_path / "run")
    change(other / name)
    assert differences(finished[0], other) == [said]


def test_a_run_that_is_killed_twice_ends_as_one_that_is_not() -> None:
    command = ["-m", "tests.kill", "--kills=2", "--per-run=2", "--task=classification"]
    done = subprocess.run(
        [sys.executable, *command, *(f"--option={option}" for option in SHORT)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 kills (" in done.stdout
    assert "0 lost, 0 different, 0 leftovers" in done.stdout
