"""The quick start, from the command to the page; with two batches instead of whole epochs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import spanetv2
from spanetv2.cli.main import make_app
from spanetv2.models import load_model

FILES = (
    "weights.safetensors",
    "metrics.json",
    "config.yaml",
    "versions.json",
    "training_curves.png",
    "confusion_matrix.png",
    "predictions.png",
    "spectral_filters.png",
    "index.html",
)


Call = tuple[tuple[Any, ...], dict[str, Any]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """What the quick start asked of training, which is cut to two batches an epoch."""
    calls: list[Call] = []
    real: Callable[..., Any] = spanetv2.train

    def short(*arguments: Any, overrides: dict[str, Any], **options: Any) -> Any:
        calls.append((arguments, {**options, "overrides": overrides}))
        shorter = {**overrides, "trainer.limit_train_batches": 2}
        return real(*arguments, overrides=shorter, **options)

    monkeypatch.setattr(spanetv2, "train", short)
    return calls


def test_quickstart_leaves_everything_in_the_folder(tmp_path: Path, seen: list[Call]) -> None:
    folder = tmp_path / "run"
    result = CliRunner().invoke(make_app(), ["quickstart", "--out", str(folder), "--epochs", "1"])
    assert result.exit_code == 0, result.output
    assert seen[0][0] == ("classification", "digits")
    assert seen[0][1]["out"] == folder
    assert not seen[0][1]["overwrite"]
    for name in FILES:
        assert (folder / name).stat().st_size > 0, name
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["images"] == 360
    assert f"{100 * metrics['top1']:.2f} %" in result.output
    for name in FILES[:2] + FILES[4:]:
        assert str(folder / name) in result.output
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 4
    assert f"{100 * metrics['top1']:.2f} %" in page
    assert "spanetv2_pico_pure" in page
    _, checkpoint = load_model(folder)
    assert checkpoint.classes == [str(digit) for digit in range(10)]

    again = CliRunner().invoke(make_app(), ["quickstart", "--out", str(folder), "--epochs", "1"])
    assert again.exit_code != 0  # a folder of the user's is not replaced without being asked
    assert "--overwrite" in str(again.exception)


def test_quickstart_replaces_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    calls: list[dict[str, Any]] = []

    def stop(*arguments: Any, **options: Any) -> Any:
        calls.append(options)
        raise spanetv2.Interrupted("stopped (Ctrl-C); nothing was saved yet", 130)

    monkeypatch.setattr(spanetv2, "train", stop)
    result = CliRunner().invoke(make_app(), ["quickstart"])
    assert result.exit_code == 130
    assert "stopped (Ctrl-C)" in result.output
    assert calls[0]["overwrite"]
    assert "trainer.max_epochs" not in calls[0]["overrides"]


def test_quickstart_refuses_no_epochs(tmp_path: Path) -> None:
    result = CliRunner().invoke(make_app(), ["quickstart", "--epochs", "0", "--out", str(tmp_path)])
    assert result.exit_code == 2
