"""Inputs of commands, and commands as they are typed, in this process."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmark_records import record, row
from PIL import Image

from spanetv2 import create_model, save_weights
from spanetv2.cli.main import main
from spanetv2.scenes import SceneSettings, write_scenes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights, images in a folder of a class, a result file."""
    folder = tmp_path_factory.mktemp("made")
    model = create_model("pico_pure", num_classes=2, img_size=32)
    save_weights(model, folder / "in.safetensors", classes=["a", "b"])
    for split in ("train", "val"):
        for name in "ab":
            (folder / "data" / split / name).mkdir(parents=True)
            Image.new("RGB", (32, 32), (90, 60, 30)).save(folder / "data" / split / name / "1.png")
    write_scenes(folder / "scenes", train=1, val=1, settings=SceneSettings(size=96))
    (folder / "result.json").write_text(json.dumps(record([row("s18_pure", [0.1])])))
    return folder


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[Any, str]]:
    def run(*arguments: object) -> tuple[Any, str]:
        monkeypatch.setattr(sys, "argv", ["spanetv2", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code, capfd.readouterr().err

    return run
