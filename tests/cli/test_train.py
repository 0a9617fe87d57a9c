"""The command line of training: help, shorthands, one-line errors, exit statuses."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from spanetv2.cli.main import make_app
from spanetv2.cli.train import main


def _print_config(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["classification", *arguments, "--print-config"]) == 0
    return yaml.safe_load(capsys.readouterr().out)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        *([task, "--help"] for task in ("classification", "segmentation", "detection")),
    ],
)
def test_help_is_short_and_says_what_to_do(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    task = arguments[0] if len(arguments) == 2 else "TASK"
    assert lines[0].startswith(f"usage: spanetv2 train {task} ")
    assert "{" not in "".join(lines)
    assert len(lines) < 50
    assert max(map(len, lines)) <= 100


def test_help_of_every_option_describes_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classification", "--help-all"]) == 0
    text = capsys.readouterr().out
    for option in ("--model.name", "--data.total_batch", "--augmentation.hflip", "--ema.decay"):
        assert option in text
    assert "images per optimiser update, over all devices" in text
    assert "Probability of a left-right flip" in text


def test_print_config_shows_every_value_and_overrides(
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = _print_config(
        capsys,
        "--config",
        "imagenet/s18_hybrid",
        "--data",
        "/images",
        "--model",
        "convnext_tiny",
        "--optimizer.lr=1e-4",
        "--data.batch_size",
        "64",
        "--freeze",
        "--trainer.max_epochs",
        "30",
        "--augmentation.scale=[0.5,1]",
    )
    assert config["data"]["root"] == "/images"
    assert config["model"]["name"] == "convnext_tiny"
    assert config["optimizer"] | {"lr": 1e-4, "name": "lamb"} == config["optimizer"]
    assert config["data"]["batch_size"] == 64
    assert config["freeze"] == "all"
    assert config["trainer"]["max_epochs"] == 30
    assert config["augmentation"]["scale"] == [0.5, 1.0]
    assert config["mixing"]["mixup"] == 0.8
    assert config["out"] == "runs/s18_hybrid"


def test_later_configurations_and_options_win(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("optimizer: {lr: 0.5}\nmodel: {drop_path: 0.1}\n")
    config = _print_config(capsys, "-c", "digits", "-c", str(path), "--freeze", "2")
    assert config["optimizer"]["lr"] == 0.5
    assert config["model"]["name"] == "spanetv2_pico_pure"
    assert config["freeze"] == 2


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["pose"], 2, "got task 'pose', expected classification, segmentation or detection"),
        (["segmentation", "--config", "digits"], 2, "a recipe for classification; use spanetv2"),
        (["classification", "--optimizer.lrr", "1"], 2, "did you mean --optimizer.lr"),
        (["classification", "--trainer.max_epoch", "1"], 2, "did you mean --trainer.max_epochs"),
        (["classification", "--optimizer.lr", "fast"], 2, "optimizer.lr: Expected a float"),
        (["classification", "--trainer.limit_train_batches=few"], 2, "a whole number of batches"),
        (["classification", "--optimizer.lr", "-1"], 2, "expected more than 0"),
        (["classification", "--freeze", "most"], 2, "'all' or a int"),
        (["classification", "--augmentation.hflip", "2"], 2, "expected a probability"),
        (["classification", "--config"], 2, "--config needs a value"),
        (["classification", "--resume", "--overwrite"], 2, "expected one of them"),
        (["classification", "--config", "digit"], 1, "did you mean digits"),
        (["classification", "--config=digits", "--model.name=s18_pur"], 1, "did you mean"),
        (["classification", "--config=digits", "--data.dataset=folder"], 1, "data folder"),
        (
            [
                *("classification", "--config=digits", "--trainer.limit_train_batches=1"),
                *("--data.batch_size=16", "--data.accumulation=2"),
            ],
            1,
            "1437 images, not one total batch of 32 under trainer.limit_train_batches=1;",
        ),
        (
            [
                *("classification", "--config=digits", "--trainer.max_epochs=3"),
                "--schedule.cooldown_epochs=3",
            ],
            1,
            "leaves no epoch",
        ),
        (["classification", "--config=digits", "--weights=nowhere.pth"], 1, "no such file"),
        (["classification", "--model.name=pico_pure", "--data=/nowhere"], 1, "/nowhere"),
    ],
)
def test_errors_are_one_line(
    arguments: list[str],
    status: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == status
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]


def test_unknown_key_in_a_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: {nam: pico_pure}\n")
    assert main(["classification", "--config", str(path)]) == 2
    assert "'nam'" in capsys.readouterr().err


def test_the_command_forwards_its_arguments() -> None:
    runner = CliRunner()
    result = runner.invoke(make_app(), ["train", "classification", "--help"])
    assert result.exit_code == 0
    assert "--print-config" in result.output
    assert runner.invoke(make_app(), ["train", "classification", "--nope"]).exit_code == 2


def test_recipes_are_listed() -> None:
    result = CliRunner().invoke(make_app(), ["recipes"])
    assert result.exit_code == 0
    assert "imagenet/s18_pure" in result.output
    assert "ImageNet-1k, S18 pure from scratch: AdamW" in result.output
