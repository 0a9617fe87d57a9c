"""Exported files, run by the programs they are for, against the network."""

import json

import onnx
import onnxruntime
import pytest
import torch

from spanetv2 import SPANetV2, UserError, create_model
from spanetv2.deploy.export import export_model
from spanetv2.deploy.verify import run_exported
from spanetv2.deploy.write import DESCRIPTION, check_format


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


def _small(**options) -> SPANetV2:
    """One block: precisions and heads do not depend on depth, exporters' time does."""
    torch.manual_seed(0)
    options = {"num_classes": 5, "init_std": None, "img_size": 32, "in_chans": 1, **options}
    return SPANetV2((1,), (24,), ("spam",), (False,), **options).eval()


def _description(path) -> dict:
    """What a file says of itself."""
    if path.suffix == ".onnx":
        values = {prop.key: prop.value for prop in onnx.load(str(path)).metadata_props}
        return json.loads(values["spanetv2"])
    extra = {DESCRIPTION: ""}
    if path.suffix == ".pt2":
        torch.export.load(str(path), extra_files=extra)
    else:
        torch.jit.load(str(path), _extra_files=extra)
    return json.loads(extra[DESCRIPTION])


OUTPUTS = [
    ({"num_classes": 0}, {}, ["batch", 24]),
    ({"global_pool": ""}, {}, ["batch", 5, 8, 8]),
    ({"num_classes": 0, "global_pool": ""}, {"input_size": (32, 48)}, ["batch", 24, 8, 12]),
    ({}, {"dynamic_batch": False, "batch_size": 3}, [3, 5]),
]


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
@pytest.mark.parametrize("suffix", [".onnx", ".pt2", ".ts"])
@pytest.mark.parametrize(("options", "settings", "expected"), OUTPUTS)
def test_described_output_is_that_of_the_file(tmp_path, suffix, options, settings, expected):
    path = tmp_path / f"network{suffix}"
    format = {".onnx": "onnx", ".pt2": "torch", ".ts": "torchscript"}[suffix]
    written = export_model(_small(**options), path, format=format, **settings)
    about = _description(path)
    # A trace takes any batch, whatever it was made with.
    expected = ["batch", *expected[1:]] if format == "torchscript" else expected
    assert about["output"] == expected
    assert about["input"] == ["batch" if side < 0 else side for side in written.input_shape]
    batch = 4 if about["input"][0] == "batch" else about["input"][0]
    got = run_exported(path, torch.randn(batch, *about["input"][1:]))
    assert [*got.shape] == [batch, *expected[1:]]


def test_described_output_of_any_size_names_its_grid(tmp_path):
    path = tmp_path / "network.pt2"
    network = _small(global_pool="", img_size=64).bfloat16()
    written = export_model(network, path, format="torch", dynamic_size=True)
    about = _description(path)
    assert about["output"] == ["batch", 5, "rows", "columns"]
    assert about["dtype"] == "bfloat16"
    assert written.error is not None
    assert written.error < 0.05
    assert run_exported(path, torch.randn(1, 1, 96, 72).bfloat16()).shape == (1, 5, 24, 18)


KEPT = [
    *[(suffix, dtype) for suffix in (".pt2", ".ts") for dtype in (torch.bfloat16, torch.float64)],
    *[(suffix, torch.float16) for suffix in (".pt2", ".ts", ".onnx")],
]


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
@pytest.mark.parametrize(("suffix", "dtype"), KEPT)
def test_other_precisions_are_kept(tmp_path, suffix, dtype):
    format = {".onnx": "onnx", ".pt2": "torch", ".ts": "torchscript"}[suffix]
    path, network = tmp_path / f"network{suffix}", _small().to(dtype)
    written = export_model(network, path, format=format)
    assert _description(path)["dtype"] == str(dtype).removeprefix("torch.")
    x = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(1)).to(dtype)
    with torch.no_grad():
        expected = network(x).double()
    got = run_exported(path, x)
    assert got.dtype == dtype
    error = float((got.double() - expected).abs().max() / expected.abs().max())
    allowed = {torch.bfloat16: 0.05, torch.float16: 0.01, torch.float64: 1e-12}[dtype]
    assert error < allowed
    assert written.error is not None
    assert written.error < allowed


@pytest.mark.parametrize("settings", [{}, {"dynamic_size": True, "input_size": 64}])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
@pytest.mark.parametrize("before", [True, False])
def test_what_onnx_runtime_does_not_run_leaves_no_file(tmp_path, dtype, settings, before):
    path = tmp_path / "network.onnx"
    if before:
        path.write_bytes(b"before")
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(UserError, match=f"^got a network in {name}, which ONNX Runtime .*$"):
        export_model(_small().to(dtype), path, format="onnx", **settings)
    assert [child.name for child in tmp_path.iterdir()] == ["network.onnx"] * before
    assert not before or path.read_bytes() == b"before"


def test_a_file_that_does_not_run_is_not_left(tmp_path):
    """ONNX Runtime's own refusal: an operator set of the future."""
    path = tmp_path / "network.onnx"
    path.write_bytes(b"before")
    with pytest.raises(UserError, match=r"^got a file that does not run here .*$"):
        export_model(_small(), path, format="onnx", opset=99)
    assert [child.name for child in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"before"


def test_mixed_precision_is_refused_in_one_line(tmp_path):
    network = _small()
    network.head.double()
    for suffix, format in ((".onnx", "onnx"), (".pt2", "torch"), (".ts", "torchscript")):
        with pytest.raises(UserError, match=r"^got a network in float32 that does not run .*$"):
            export_model(network, tmp_path / f"network{suffix}", format=format)  # pyright: ignore
    assert list(tmp_path.iterdir()) == []


def test_torchscript_is_refused_where_python_has_it_no_more(monkeypatch):
    monkeypatch.setattr("sys.version_info", (3, 14, 0))
    with pytest.raises(
        UserError, match=r"got torchscript on Python 3\.14 .* Python 3\.11 to 3\.13"
    ):
        check_format("torchscript")
    check_format("torch")
    monkeypatch.setattr("sys.version_info", (3, 13, 9))
    check_format("torchscript")


def test_what_cannot_be_exported_is_refused(network, tmp_path):
    path = tmp_path / "network.x"
    with pytest.raises(UserError, match="got a Linear without a size of images"):
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
