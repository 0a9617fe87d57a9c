"""StarReLU in one kernel against its definition in float64, and every gradient."""

import importlib.util

import pytest
import torch

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton does not come with PyTorch here", allow_module_level=True)

from spanetv2 import create_model, set_implementation
from spanetv2.layers import StarReLU
from spanetv2.ops.star_relu import use_star_relu
from spanetv2.ops.star_relu.operator import star_relu

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def _inputs(dtype=torch.float32, shape=(3, 50, 70)):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator).to(DEVICE, dtype)
    return [x, torch.tensor([0.7], device=DEVICE), torch.tensor([-0.3], device=DEVICE)]


def _definition(x, scale, bias):
    return scale * torch.relu(x).square() + bias


def _run(function, inputs, outward):
    leaves = [value.detach().requires_grad_() for value in inputs]
    out = function(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, outward)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_star_relu_is_the_definition(dtype):
    inputs = _inputs(dtype)
    outward = torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(1))
    outward = outward.to(inputs[0])
    got = _run(star_relu, inputs, outward)
    assert got[0].dtype == dtype
    expected = _run(_definition, [value.double() for value in inputs], outward.double())
    tolerance = torch.finfo(dtype).eps / 2 + 20 * torch.finfo(torch.float32).eps
    for one, other in zip(got, expected, strict=True):
        assert float((one.double() - other).norm() / other.norm()) < tolerance


def test_star_relu_reads_any_layout_and_no_values():
    x, scale, bias = _inputs(shape=(5, 6))
    torch.testing.assert_close(star_relu(x.t(), scale, bias), _definition(x.t(), scale, bias))
    empty = [x[:0], scale, bias]
    assert [tuple(v.shape) for v in _run(star_relu, empty, x[:0])] == [(0, 6), (0, 6), (1,), (1,)]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_star_relu_is_well_registered():
    leaves = [value.requires_grad_() for value in _inputs(shape=(3, 4))]
    torch.library.opcheck(torch.ops.spanetv2.star_relu.default, tuple(leaves))


def test_networks_take_it_where_the_kernels_are_asked_for(monkeypatch):
    model = create_model("pico_pure", num_classes=2, img_size=32)
    layers = [module for module in model.modules() if isinstance(module, StarReLU)]
    assert {layer.implementation for layer in layers} == {"auto"}
    set_implementation(model, "fused")
    assert {layer.implementation for layer in layers} == {"fused"}
    x, _, _ = _inputs(torch.bfloat16, (2, 8))
    layer = layers[0].to(DEVICE)
    assert use_star_relu("fused", x)
    assert layer(x).dtype == torch.bfloat16  # and what the step before had, in float32 masters
    assert not use_star_relu("auto", x)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert not use_star_relu("fused", x)
