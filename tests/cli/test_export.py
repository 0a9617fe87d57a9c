"""``spanetv2 export`` as a user meets it."""

import json
import sys

import pytest
import torch

from spanetv2 import create_model, save_weights
from spanetv2.cli.main import main
from spanetv2.deploy.export import run_exported


@pytest.fixture
def run(monkeypatch, capfd):
    def run(*arguments: object):
        monkeypatch.setattr(sys, "argv", ["spanetv2", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code or 0, *capfd.readouterr()

    return run


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "network.safetensors"
    torch.manual_seed(0)
    model = create_model("pico_pure", num_classes=3, img_size=64)
    save_weights(model, path, classes=["a", "b", "c"])
    return path, model.eval()


def test_export_writes_a_checked_onnx_file(run, checkpoint, tmp_path):
    import onnx

    path, model = checkpoint
    status, out, _ = run("export", path, "--out", tmp_path / "n.onnx", "--img-size", 96)
    assert status == 0
    assert "images any x 3 x 96 x 96, largest difference from the network" in out
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(
            run_exported(tmp_path / "n.onnx", x), model(x), rtol=1e-3, atol=1e-4
        )
    properties = onnx.load(str(tmp_path / "n.onnx")).metadata_props
    about = json.loads({prop.key: prop.value for prop in properties}["spanetv2"])
    assert about["classes"] == ["a", "b", "c"]
    assert about["preprocessing"]["input_size"] == [3, 96, 96]


def test_export_names_the_file_after_the_model(run, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run("export", checkpoint[0], "--format", "torchscript")
    assert status == 0
    assert (tmp_path / "spanetv2_pico_pure.ts").is_file()
    assert "spanetv2_pico_pure.ts: images any x 3 x 64 x 64" in out


def test_bad_input_is_one_line(run, checkpoint, tmp_path):
    path, _ = checkpoint
    for arguments, message in (
        ((path, "--format", "tflite"), "got --format tflite, expected one of onnx"),
        ((path, "--out", tmp_path / "n.pt"), "expected a name that ends in .onnx"),
        ((tmp_path / "missing.pth",), "missing.pth"),
        ((path, "--format", "torchscript", "--dynamic-size"), "traces one size"),
    ):
        status, _, err = run("export", *arguments)
        assert status == 1
        assert message in err
        assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
