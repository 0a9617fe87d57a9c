"""Graphs that users make themselves, by tracing, and every file of ours in OpenVINO."""

import pytest
import torch
from torch import Tensor, nn

from spanetv2 import SPANetV2, optimize_for_inference
from spanetv2.deploy.export import export_model
from spanetv2.deploy.runtimes import open_runtime
from spanetv2.mixers import SpectralRescale

# what exporters tell their own developers
pytestmark = pytest.mark.filterwarnings("ignore")


def _network(**options) -> SPANetV2:
    """Every kind of mixer; the last stage has as many tokens (2 x 2) as heads."""
    torch.manual_seed(0)
    options = {"num_classes": 5, "init_std": None, "img_size": 64, "in_chans": 1, **options}
    mixers = ("spam", "spam", "mixed_attention", "attention")
    return SPANetV2((1, 1, 1, 1), (24, 48, 96, 128), mixers, **options).eval()


def _error(got: Tensor, expected: Tensor) -> float:
    assert got.shape == expected.shape
    got, expected = got.detach(), expected.detach()
    return float((got - expected).abs().max() / expected.abs().max())


class _OnItsGrid(nn.Module):
    """A filter that is asked for the gain of its grid."""

    def __init__(self, spectral: SpectralRescale) -> None:
        super().__init__()
        self.spectral = spectral

    def forward(self, x: Tensor) -> Tensor:
        return x + self.spectral.kept_gain(*self.spectral.grid)


def test_a_trace_follows_the_filters_parameters():
    filter_ = _OnItsGrid(SpectralRescale(4, (5, 6))).eval()
    x = torch.zeros(4, 5, 4)
    with torch.no_grad():
        before = filter_(x).clone()  # the gain is kept from here on
        traced = torch.jit.trace(filter_, x)
        kept = dict(filter_.spectral._kept)
        filter_.spectral.theta.add_(3.0)
        assert _error(traced(x), filter_(x)) < 1e-6
    assert _error(before, filter_(x)) > 0.1
    assert [type(side) for height, width, _ in kept for side in (height, width)] == [int, int]


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_a_traced_network_follows_changed_weights(mode):
    model = _network()
    x = torch.randn(2, 1, 64, 64)
    with mode():
        model(x)
        traced = torch.jit.trace(model, x)
        assert _error(traced(x), model(x)) < 1e-4
    with torch.no_grad():
        before = model(x)
        for key, parameter in model.named_parameters():
            if key.endswith("theta"):
                parameter.normal_(std=3.0)
        x = torch.randn(3, 1, 64, 64)
        assert _error(traced(x), model(x)) < 1e-4
        assert _error(model(x[:2]), before) > 0.01


@pytest.mark.parametrize("optimized", [False, True])
def test_the_exporter_of_traces_writes_files_that_run(tmp_path, optimized):
    model, path = _network(), str(tmp_path / "network.onnx")
    ready = optimize_for_inference(model) if optimized else model
    with torch.no_grad():
        torch.onnx.export(
            ready,
            (torch.randn(2, 1, 64, 64),),
            path,
            dynamo=False,
            opset_version=17,
            input_names=["images"],
            dynamic_axes={"images": {0: "batch"}},
        )
        x = torch.randn(3, 1, 64, 64)
        for runtime in ("onnxruntime", "openvino"):
            assert _error(open_runtime(runtime, path)(x), model(x)) < 1e-4


FORMS = [
    {},
    {"dynamic_batch": False, "batch_size": 2},
    {"dynamic_size": True},
    {"opset": 18},
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_openvino_reads_every_form_of_file(tmp_path, form):
    path = tmp_path / "network.onnx"
    model = _network()
    export_model(model, path, format="onnx", **form)
    x = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        assert _error(open_runtime("openvino", path)(x), model(x)) < 1e-4


@pytest.mark.parametrize("options", [{"num_classes": 0}, {"global_pool": ""}], ids=str)
def test_openvino_reads_features_and_maps(tmp_path, options):
    path = tmp_path / "network.onnx"
    model = _network(**options)
    export_model(model, path, format="onnx", dynamic_batch=False, batch_size=2)
    x = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        assert _error(open_runtime("openvino", path)(x), model(x)) < 1e-4
