"""``spanetv2.train``: a run from Python, and the same one from the command line."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback, LightningModule, Trainer
from stopper import Stopper

import spanetv2
from spanetv2.cli.train import run_training
from spanetv2.errors import ConfigError, UserError
from spanetv2.tasks import find_task

TINY: dict[str, Any] = {
    "model.drop_path": 0,
    "data": {"total_batch": 16, "val_batch_size": 60},
    "augmentation": {"rotate": 0, "shift": 0},
    "mixing.label_smoothing": 0,
    "schedule.warmup_epochs": 1,
    "log_every": 1,
    "checkpoints.every_epochs": 1,
    "trainer": {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 3,
        "limit_train_batches": 4,
        "limit_val_batches": 1,
    },
}
"""What conftest's options are, from Python."""


class Count(Callback):
    """Counts updates."""

    def __init__(self) -> None:
        self.updates = 0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self.updates += 1


def test_python_and_the_command_line_train_the_same(runs: Any, tmp_path: Path) -> None:
    count = Count()
    out = tmp_path / "python"
    overrides = {**TINY, "trainer": {**TINY["trainer"], "callbacks": [count]}}
    result = spanetv2.train("classification", "digits", out=out, overrides=overrides)
    assert count.updates == 12  # the object itself, not a copy of it
    assert result.folder == out
    assert result.weights.is_file()
    assert result.metrics == json.loads((out / "metrics.json").read_text())
    runs.assert_same_weights(out, runs.train("typed"))
    versions = json.loads((out / "versions.json").read_text())
    assert versions["command"].startswith("spanetv2.train('classification', 'digits', overrides={")
    assert "'callbacks': [Count]" in versions["command"]
    assert versions["left_out"] == {"trainer.callbacks": f"{Count.__module__}.Count"}
    text = (out / "config.yaml").read_text()
    assert text.startswith("task: classification\n# Left out")
    typed = (tmp_path / "typed" / "config.yaml").read_text().replace("devices: '1'", "devices: 1")
    lines = [line for line in text.splitlines() if not line.startswith(("#", "out:"))]
    assert lines == [line for line in typed.splitlines() if not line.startswith("out:")]


def test_interrupted_run_is_resumed_from_python(runs: Any, tmp_path: Path) -> None:
    out = tmp_path / "run"
    stop = {"trainer.callbacks": Stopper(number=int(signal.SIGINT), batch=6)}
    with pytest.raises(spanetv2.Interrupted, match="--resume --out") as stopped:
        spanetv2.train(find_task("classification"), ["digits", TINY, stop], out=out)
    assert stopped.value.status == 130
    with pytest.raises(ConfigError, match=r"trained with trainer\.callbacks: stopper\.Stopper"):
        spanetv2.train("classification", out=out, resume=True)
    count = Count()
    overrides = {"trainer.callbacks": [count]}
    result = spanetv2.train("classification", out=out, resume=True, overrides=overrides)
    assert count.updates == 5
    runs.assert_same_weights(result.folder, runs.train("whole"))
    record = json.loads((out / "versions.json").read_text())["resumed"][-1]
    assert record["left_out"] == {"trainer.callbacks": f"{Count.__module__}.Count"}


def test_training_in_a_thread_needs_no_signals(tmp_path: Path) -> None:
    results = []
    thread = threading.Thread(
        target=lambda: results.append(
            spanetv2.train("classification", "digits", out=tmp_path / "run", overrides=TINY)
        )
    )
    before = signal.getsignal(signal.SIGINT)
    thread.start()
    thread.join()
    assert results[0].metrics["training"]["updates"] == 12
    assert signal.getsignal(signal.SIGINT) is before


def test_training_ignores_the_arguments_of_the_program(tmp_path: Path) -> None:
    code = (
        "import sys, json, spanetv2\n"
        "sys.argv[1:] = ['--optimizer.lr=9', '--f', 'kernel.json']\n"
        "assert 'lightning' not in sys.modules\n"
        f"overrides = json.loads({json.dumps(TINY)!r})\n"
        "overrides['trainer']['max_epochs'] = 2\n"
        f"print(spanetv2.train('classification', 'digits', out={str(tmp_path / 'run')!r}, "
        "overrides=overrides).weights)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_file()


def test_a_whole_configuration_may_be_a_mapping(tmp_path: Path) -> None:
    config = {
        "task": "classification",
        "out": str(tmp_path / "mine"),
        "model": {"name": "pico_pure"},
    }
    resolved = spanetv2.api.resolve_training("classification", config, data=tmp_path)
    assert resolved.config.out == config["out"]
    assert resolved.config.data.root == str(tmp_path)
    del config["out"]
    assert spanetv2.api.resolve_training("classification", config).config.out == "runs/pico_pure"
    assert spanetv2.api.resolve_training("detection").config.out == "runs/detection"


def test_later_values_win(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("optimizer: {lr: 0.5}\nseed: 1\n")
    sources = ["digits", ["--optimizer.lr=0.25", "--seed=2"], path, {"seed": 3}]
    config = spanetv2.api.resolve_training("classification", sources).config
    assert (config.optimizer.lr, config.seed) == (0.5, 3)
    overrides = {"optimizer": {"lr": 0.75}}
    config = spanetv2.api.resolve_training("classification", sources, overrides=overrides).config
    assert config.optimizer.lr == 0.75


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "pose"}, "got task 'pose', expected classification, segmentation or detection"),
        ({"config": "digit"}, "did you mean digits"),
        ({"config": {"task": "detection"}}, "got a configuration for detection, expected one for"),
        ({"resume": True, "overwrite": True}, "expected one of them"),
        ({"overrides": {"optimizer.lr": "fast"}}, "optimizer.lr: Expected a float"),
        ({"overrides": {"optimizer.lr": -1}}, "expected more than 0"),
        ({"overrides": {"trainer.max_epoch": 1}}, "max_epoch"),
        ({"overrides": {"trainer.callbacks": [3, Count]}}, "expected objects of lightning"),
        ({"overrides": {"trainer.logger": Count()}}, "no option of a run; give loggers"),
    ],
)
def test_errors_say_what_was_got(
    arguments: dict[str, Any],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as refused:
        spanetv2.train(**{"task": "classification", "config": "digits", **arguments})
    assert "\n" not in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_run_deletes_nothing(runs: Any) -> None:
    folder = runs.train("run", "--trainer.max_steps=1")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(UserError, match="no such file"):
        run_training([*runs.tiny, f"--out={folder}", "--overwrite", "--weights=nowhere.pth"])
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
