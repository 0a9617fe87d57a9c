"""scripts/ship_weights.py: from a run's folder to a small file and its card."""

import gzip
import importlib.util
import json
import struct
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import spanetv2
from spanetv2 import UserError
from spanetv2.models.weights import read_checkpoint
from spanetv2.tasks.classification.data.arrays import FASHION_MNIST_CLASSES

ROOT = Path(__file__).resolve().parents[1]
NAME = "spanetv2_pico_pure.fashion_mnist"
IMAGES = {
    "input_size": [1, 28, 28],
    "mean": [0.286],
    "std": [0.353],
    "interpolation": "bicubic",
    "crop_pct": 1.0,
    "crop_mode": "center",
}


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module that writes into a folder of its own."""
    spec = importlib.util.spec_from_file_location("ship", ROOT / "scripts" / "ship_weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "ship", module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "FOLDER", tmp_path / "weights")
    return module


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What a run leaves, of an untrained network."""
    torch.manual_seed(0)
    folder = tmp_path / "run"
    model = spanetv2.create_model(
        "pico_pure", num_classes=10, in_chans=1, img_size=28, stem_stride=2
    )
    spanetv2.save_weights(
        model,
        folder / "weights.safetensors",
        classes=FASHION_MNIST_CLASSES,
        preprocessing=IMAGES,
        extra={"updates": 5, "top1": 0.123},
    )
    config = {"seed": 7, "weights": None, "model": {"name": "spanetv2_pico_pure"}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    versions = {
        "python": "3.12.1",
        "commit": "0123abc",
        "packages": {"torch": "2.15.0", "timm": "1.0.31"},
        "hardware": {"threads": 2, "processor": "Abacus", "machine": "wood"},
    }
    (folder / "versions.json").write_text(json.dumps(versions))
    training = {"epochs": 3, "updates": 5, "seconds": 240.0}
    metrics = {"top1": 0.123, "top5": 0.5, "loss": 2.4, "training": training}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Forty random images as Fashion-MNIST's files."""
    folder = tmp_path / "fashion"
    folder.mkdir()
    rng = np.random.default_rng(0)
    arrays = {
        "images-idx3": rng.integers(0, 256, (40, 28, 28), dtype=np.uint8),
        "labels-idx1": np.arange(40, dtype=np.uint8) % 10,
    }
    for part, array in arrays.items():
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
        with gzip.open(folder / f"t10k-{part}-ubyte.gz", "wb") as file:
            file.write(header + array.tobytes())
    return folder


def test_a_run_becomes_a_file_and_a_card(tool: ModuleType, run: Path, data: Path) -> None:
    tool.ship(run, NAME, str(data))
    file = tool.FOLDER / f"{NAME}.safetensors"
    before = load_file(run / "weights.safetensors")
    stored = load_file(file)
    assert stored.keys() == before.keys()
    assert all(torch.equal(value, before[key].half()) for key, value in stored.items())
    found = read_checkpoint(file)
    # measured, not copied from the run
    assert found.extra["top1"] == pytest.approx(0.1, abs=0.1)
    assert found.extra["top1"] != 0.123
    top1 = f"{100 * found.extra['top1']:.2f} %"
    assert found.extra["summary"] == f"{top1} top-1 on the 40 test images"
    assert (found.extra["commit"], found.extra["updates"]) == ("0123abc", 5)
    assert found.classes == list(FASHION_MNIST_CLASSES)
    assert found.preprocessing == IMAGES
    card = file.with_suffix(".md").read_text(encoding="utf-8")
    assert f"| top-1 | {top1} | 12.30 % |\n" in card
    assert "| training | `spanetv2 train classification --config fashion_mnist`, seed 7 |" in card
    assert "| length | 3 epochs, 5 updates, 4 minutes |" in card
    assert "| input | grey, 28 x 28 pixels; stem of stride 2 |" in card


def test_what_does_not_fit_is_refused(
    tool: ModuleType, run: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="expected a variant and one of fashion_mnist"):
        tool.ship(run, "spanetv2_pico_pure.cifar", None)
    with pytest.raises(UserError, match="got a run of spanetv2_pico_pure, expected spanetv2_nano"):
        tool.ship(run, "spanetv2_nano_pure.fashion_mnist", None)
    with pytest.raises(UserError, match="got no --data"):
        tool.ship(run, "spanetv2_pico_pure.scenes_mask_rcnn", None)
    with pytest.raises(UserError, match="got b beyond half precision"):
        tool.rounded({"a": torch.ones(2), "b": torch.full((2,), 1e5), "n": torch.tensor(99999)})
    monkeypatch.setattr(tool, "LARGEST", 1000)
    with pytest.raises(UserError, match="expected at most 1,000"):
        tool.ship(run, NAME, str(data))
    assert not list(tool.FOLDER.iterdir())
