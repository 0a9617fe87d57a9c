"""A run that was cut short and resumed ends exactly like one that was not."""

import csv
import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from spanetv2.cli.train import main, run_training
from spanetv2.errors import ConfigError, Interrupted

# Everything random at once: order, augmentation, erasing, mixup, cutmix, drop path; and an average.
RANDOM = (
    "--model.drop_path=0.3",
    "--augmentation.shift=1",
    "--augmentation.rotate=15",
    "--augmentation.re_prob=0.5",
    "--mixing.mixup=0.4",
    "--mixing.cutmix=0.4",
    "--mixing.label_smoothing=0.1",
    "--ema.decay=0.9",
    "--data.batch_size=8",  # two accumulated
    "--trainer.limit_train_batches=8",
    "--checkpoints.every_steps=3",
)


@pytest.fixture(scope="module")
def uninterrupted(shared_runs: Any) -> Path:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = shared_runs.train("uninterrupted", *RANDOM)
    torch.set_num_threads(before)
    return folder


@pytest.mark.parametrize("workers", [0, 2])
def test_resume_after_sigkill_amid_an_epoch_is_exact(
    uninterrupted: Path, tmp_path: Path, runs: Any, workers: int
) -> None:
    folder = tmp_path / "killed"
    options = [*RANDOM, f"--data.workers={workers}"]
    # update 6 is saved, amid the second epoch; the run dies two updates later
    killed = runs.spawn(folder.name, *options, runs.stopper(batch=15))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    saved = runs.load(folder)
    assert (saved["global_step"], saved["ClassificationData"]) == (6, {"epoch": 1, "batch": 4})
    runs.train("killed", *options, "--resume")
    runs.assert_same_weights(uninterrupted, folder)


@pytest.mark.parametrize(
    "where",
    [
        pytest.param({"batch": 0}, id="first batch"),
        pytest.param({"batch": 10}, id="amid an epoch"),
        pytest.param({"batch": 8}, id="first batch of an epoch"),
        pytest.param({"batch": 15}, id="last batch of an epoch"),
        pytest.param({"batch": 23}, id="last batch of all"),
        pytest.param({"validation": 1}, id="in validation"),
    ],
)
def test_resume_after_sigterm_is_exact(
    uninterrupted: Path, tmp_path: Path, runs: Any, where: dict[str, int]
) -> None:
    folder = tmp_path / "stopped"
    with pytest.raises(Interrupted, match="--resume --out") as stopped:
        runs.train("stopped", *RANDOM, runs.stopper(number=int(signal.SIGTERM), **where))
    assert stopped.value.status == 143
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert not (folder / "weights.safetensors").exists()
    runs.train("stopped", *RANDOM, "--resume")
    runs.assert_same_weights(uninterrupted, folder)
    with (folder / "logs" / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with (uninterrupted / "logs" / "metrics.csv").open(newline="") as stream:
        expected = list(csv.DictReader(stream))
    for row in [*rows, *expected]:
        row.pop("train/images_per_second")
    assert rows == expected


def test_resume_between_epochs_is_exact(uninterrupted: Path, tmp_path: Path, runs: Any) -> None:
    folder = tmp_path / "two"
    # dies in the second epoch before anything of it is saved
    options = [*RANDOM, "--checkpoints.every_steps=0"]
    killed = runs.spawn(folder.name, *options, runs.stopper(batch=13))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    runs.train("two", *options, "--resume")
    runs.assert_same_weights(uninterrupted, folder)


def test_resume_by_steps_is_exact(uninterrupted: Path, tmp_path: Path, runs: Any) -> None:
    for steps in (1, 5, 8, 12):
        resume = ["--resume"] if (tmp_path / "steps").exists() else []
        folder = runs.train("steps", *RANDOM, f"--trainer.max_steps={steps}", *resume)
        saved = runs.load(folder)
        assert saved["global_step"] == steps
    runs.assert_same_weights(uninterrupted, tmp_path / "steps")


def test_resume_without_configuration_takes_the_run_folders(tmp_path: Path, runs: Any) -> None:
    with pytest.raises(Interrupted):
        runs.train("run", runs.stopper(number=int(signal.SIGINT), batch=6))
    saved = tmp_path / "run" / "config.yaml"
    text = saved.read_text()
    assert "#   trainer.callbacks: stopper.Stopper" in text
    assert yaml.safe_load(text)["trainer"]["callbacks"] is None
    with pytest.raises(ConfigError, match=r"give --trainer\.callbacks again, null to go on"):
        run_training(["classification", "--resume", f"--out={saved.parent}"])
    result = run_training(
        ["classification", "--resume", f"--out={saved.parent}", "--trainer.callbacks=null"]
    )
    assert result is not None
    assert result.metrics["training"]["updates"] == 12


def test_main_returns_130_after_ctrl_c(
    tmp_path: Path, runs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        *runs.tiny,
        f"--out={tmp_path / 'run'}",
        runs.stopper(number=int(signal.SIGINT), batch=1),
    ]
    assert main(arguments) == 130
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("stopped (Ctrl-C); saved ")
    assert f"spanetv2 train classification --resume --out {tmp_path / 'run'}" in message


def test_resume_of_a_truncated_checkpoint_takes_the_one_before(
    uninterrupted: Path, tmp_path: Path, runs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Interrupted):
        runs.train("cut", *RANDOM, runs.stopper(number=int(signal.SIGTERM), batch=15))
    last = tmp_path / "cut" / "checkpoints" / "last.ckpt"
    with last.open("r+b") as stream:
        stream.truncate(last.stat().st_size // 2)
    runs.train("cut", *RANDOM, "--resume")
    said = capsys.readouterr().err
    assert "last.ckpt is truncated or damaged: going on from" in said
    assert "last-previous.ckpt" in said
    runs.assert_same_weights(uninterrupted, tmp_path / "cut")


def test_a_configuration_saved_before_recipes_had_a_task_resumes(tmp_path: Path, runs: Any) -> None:
    with pytest.raises(Interrupted):
        runs.train("run", runs.stopper(number=int(signal.SIGINT), batch=6))
    folder = tmp_path / "run"
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert config.pop("task") == "classification"
    assert config.pop("loggers") is None
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    versions = json.loads((folder / "versions.json").read_text())
    del versions["left_out"]
    (folder / "versions.json").write_text(json.dumps(versions))
    result = run_training(["classification", "--resume", f"--out={folder}"])
    assert result is not None
    assert result.metrics["training"]["updates"] == 12
    # with the classes that it could name then, it says what to do
    config["trainer"]["callbacks"] = [{"class_path": "stopper.Stopper"}]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ConfigError, match=r"config\.yaml: trainer\.callbacks is stopper\.Stopper"):
        run_training(["classification", "--resume", f"--out={folder}"])
