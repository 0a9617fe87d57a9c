"""Loggers by short names: what they write, how a resumed run finds them, what is refused."""

import importlib.util
import json
import signal
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

import spanetv2
from spanetv2.cli.train import main
from spanetv2.errors import Interrupted, UserError
from spanetv2.training.loggers import RunLoggers, read_loggers


def write_config(folder: Path, text: str) -> str:
    path = folder / "loggers.yaml"
    path.write_text(text)
    return f"--config={path}"


def metric(run: Path, name: str) -> list[tuple[int, float]]:
    """(step, value) of a metric in MLflow's file store."""
    lines = (run / "metrics" / name).read_text().splitlines()
    return [(int(step), float(value)) for _, value, step in map(str.split, lines)]


def test_mlflow_gets_what_the_table_gets_and_goes_on_after_resuming(
    runs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE", raising=False)
    store = tmp_path / "store"
    config = write_config(
        tmp_path, f"loggers: [csv, {{name: mlflow, tracking_uri: 'file:{store}', run_name: tiny}}]"
    )
    with pytest.raises(Interrupted):
        runs.train("run", config, runs.stopper(batch=6, number=int(signal.SIGINT)))
    runs.train("run", config, "--resume")
    (meta,) = store.glob("*/*/meta.yaml")  # one run, not two
    assert "run_name: tiny" in meta.read_text()
    run = meta.parent
    losses = metric(run, "train/loss")
    assert sorted({step for step, _ in losses}) == list(range(1, 13))
    table = (tmp_path / "run" / "logs" / "metrics.csv").read_text().splitlines()
    rows = [dict(zip(table[0].split(","), line.split(","), strict=True)) for line in table[1:]]
    expected = {int(r["step"]): float(r["train/loss"]) for r in rows if r["train/loss"]}
    assert dict(losses) == pytest.approx(expected, rel=1e-4)
    assert [step for step, _ in metric(run, "val/top1")] == [4, 8, 12]
    assert (run / "params" / "optimizer" / "lr").read_text() == "0.002"
    assert (run / "params" / "task").read_text() == "classification"


def test_further_loggers_stand_beside_the_runs_own(runs: Any, tmp_path: Path) -> None:
    config = write_config(
        tmp_path, f"loggers: [{{name: csv, save_dir: {tmp_path}/c}}, tensorboard]"
    )
    folder = runs.train("run", config, "--trainer.max_epochs=2")
    (table,) = (tmp_path / "c").rglob("metrics.csv")
    assert "train/loss" in table.read_text().splitlines()[0]
    assert len(list(folder.rglob("*tfevents*"))) == 1
    assert (folder / "logs" / "metrics.csv").is_file()


def test_names_without_options_are_what_every_run_writes(tmp_path: Path) -> None:
    for value in (None, [], "csv", "tensorboard", ["csv", "tensorboard"]):
        assert RunLoggers(value, folder=tmp_path, resumed=False).loggers == []
    value = ["csv", {"name": "tensorboard", "save_dir": str(tmp_path), "run_name": "mine"}]
    (logger,) = RunLoggers(value, folder=tmp_path, resumed=False).loggers
    assert isinstance(logger, TensorBoardLogger)
    assert logger.log_dir == str(tmp_path / "mine" / "version_0")
    mine = CSVLogger(tmp_path)
    assert RunLoggers(mine, folder=tmp_path, resumed=False).loggers == [mine]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loggers: comet", "got 'comet', expected csv, tensorboard, wandb or mlflow"),
        ("loggers: [{project: mine}]", "got None, expected csv"),
        ("loggers: [3]", "loggers"),
        ("loggers: {name: mlflow, class_path: a.B}", "loggers is a.B, expected a plain value"),
    ],
)
def test_what_is_no_logger_is_refused(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    config = write_config(tmp_path, text)
    assert main(["classification", "--config=digits", config, f"--out={out}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not out.exists()


def test_options_that_a_logger_lacks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"loggers, csv: .*unexpected keyword argument 'colour'"):
        RunLoggers({"name": "csv", "colour": 1}, folder=tmp_path, resumed=False)


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_missing_package_is_named_before_anything_is_written(
    package: str, runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == package else find(name, *a)
    )
    folder = runs.folder / "run"
    checkpoint = folder / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    with pytest.raises(UserError, match=f"install it with `pip install {package}`, or leave"):
        runs.train("run", f"--loggers=[csv,{package}]", "--overwrite")
    assert [path for path in folder.rglob("*") if path.is_file()] == [checkpoint]


def test_loggers_are_typed_as_a_list_or_a_name() -> None:
    from spanetv2.api import resolve_training

    for typed, expected in (("csv", "csv"), ("[csv, mlflow]", ["csv", "mlflow"])):
        config = resolve_training("classification", ["digits", [f"--loggers={typed}"]]).config
        assert config.loggers == expected
    options = '{"name": "mlflow", "experiment_name": "mine"}'
    config = resolve_training("classification", ["digits", [f"--loggers={options}"]]).config
    (choice,) = read_loggers(config.loggers)
    assert (choice.name, choice.options) == ("mlflow", {"experiment_name": "mine"})


def test_a_logger_object_is_told_everything(tmp_path: Path, runs: Any) -> None:
    seen: dict[str, Any] = {}

    class Notebook(CSVLogger):
        def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
            seen.update(metrics)

        def log_hyperparams(self, params: Any = None) -> None:
            seen.update(params)

    result = spanetv2.train(
        "classification",
        ["digits", list(runs.tiny[2:])],
        out=tmp_path / "run",
        overrides={"loggers": ["csv", Notebook(tmp_path / "c")], "trainer": {"max_epochs": 2}},
    )
    assert seen["val/top1"] == pytest.approx(result.metrics["top1"], abs=0.5)
    assert seen["optimizer"]["lr"] == 0.002
    text = (result.folder / "config.yaml").read_text()
    assert "#   loggers: csv, test_loggers." in text.replace("tests.training.", "")
    assert json.loads((result.folder / "versions.json").read_text())["left_out"].keys() == {
        "loggers"
    }
