"""Exported files, run by the programs they are for, against the network."""

import json

import onnx
import onnxruntime
import pytest
import torch

from spanetv2 import SPANetV2, UserError, create_model
from spanetv2.deploy.export import DESCRIPTION, export_model, run_exported


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    model = create_model("pico_hybrid", num_classes=5, img_size=64, in_chans=1)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith("theta"):
                parameter.normal_(std=2.0)
    return model.eval()


@pytest.fixture(scope="module")
def shallow() -> torch.nn.Module:
    """One block per stage, every kind of mixer: symbolic sizes cost minutes on deeper networks."""
    torch.manual_seed(0)
    model = SPANetV2(
        (1, 1, 1, 1),
        (24, 48, 96, 128),
        ("spam", "spam", "mixed_attention", "attention"),
        num_classes=5,
        img_size=64,
        in_chans=1,
        init_std=None,
    )
    return model.eval()


def _check(network, path, *shapes) -> None:
    for shape in shapes:
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            expected = network(x)
        got = run_exported(path, x)
        assert got.shape == expected.shape
        assert float((got - expected).abs().max() / expected.abs().max()) < 1e-4


@pytest.mark.parametrize(("format", "suffix"), [("onnx", ".onnx"), ("torch", ".pt2")])
def test_file_takes_any_batch(network, tmp_path, format, suffix):
    path = tmp_path / f"network{suffix}"
    written = export_model(network, path, format=format)
    assert written.error is not None
    assert written.error < 1e-4
    assert written.input_shape == (-1, 1, 64, 64)
    _check(network, path, (1, 1, 64, 64), (3, 1, 64, 64))
    assert [child.name for child in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("format", "suffix"), [("onnx", ".onnx"), ("torch", ".pt2")])
def test_file_takes_any_size(shallow, tmp_path, format, suffix):
    path = tmp_path / f"network{suffix}"
    written = export_model(shallow, path, format=format, dynamic_size=True)
    assert written.input_shape == (-1, 1, -1, -1)
    _check(shallow, path, (1, 1, 64, 64), (2, 1, 96, 72), (1, 1, 127, 224))


def test_trace_runs_at_its_size(network, tmp_path):
    path = tmp_path / "network.ts"
    written = export_model(network, path, format="torchscript", input_size=(64, 96))
    assert written.input_shape == (-1, 1, 64, 96)
    _check(network, path, (1, 1, 64, 96), (3, 1, 64, 96))


def test_fixed_batch(network, tmp_path):
    path = tmp_path / "network.onnx"
    export_model(network, path, format="onnx", dynamic_batch=False, batch_size=2)
    _check(network, path, (2, 1, 64, 64))
    (images,) = onnxruntime.InferenceSession(str(path)).get_inputs()
    assert images.shape == [2, 1, 64, 64]


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
def test_description_travels_in_every_format(network, tmp_path):
    about = {"classes": ["a", "b", "c", "d", "é"]}
    found = []
    path = tmp_path / "network.onnx"
    export_model(network, path, format="onnx", description=about)
    model = onnx.load(str(path))
    onnx.checker.check_model(model)
    assert {opset.domain: opset.version for opset in model.opset_import}[""] == 20
    assert not any("DFT" in node.op_type for node in model.graph.node)
    found.append({prop.key: prop.value for prop in model.metadata_props}["spanetv2"])
    extra = {DESCRIPTION: ""}
    path = tmp_path / "network.pt2"
    export_model(network, path, format="torch", description=about)
    torch.export.load(str(path), extra_files=extra)
    found.append(extra[DESCRIPTION])
    extra = {DESCRIPTION: ""}
    path = tmp_path / "network.ts"
    export_model(network, path, format="torchscript", description=about)
    torch.jit.load(str(path), _extra_files=extra)
    found.append(extra[DESCRIPTION])
    for text in found:
        content = json.loads(text)
        assert content["classes"] == about["classes"]
        assert content["output"] == ["batch", 5]


def test_what_cannot_be_exported_is_refused(network, tmp_path):
    path = tmp_path / "network.x"
    with pytest.raises(UserError, match="expected a SPANetV2"):
        export_model(torch.nn.Linear(1, 1), path, format="onnx")
    with pytest.raises(UserError, match="got format 'tflite'"):
        export_model(network, path, format="tflite")  # pyright: ignore
    with pytest.raises(UserError, match="traces one size"):
        export_model(network, path, format="torchscript", dynamic_size=True)
    with pytest.raises(UserError, match="got opset 11"):
        export_model(network, path, format="onnx", opset=11)
    with pytest.raises(UserError, match="expected a file ending in"):
        run_exported(path, torch.zeros(1))
    assert not path.exists()
