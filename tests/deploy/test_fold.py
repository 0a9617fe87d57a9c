"""Optimised networks give the outputs of the originals, which stay as they are."""

import copy

import pytest
import torch

from spanetv2 import UserError, create_model, optimize_for_inference, set_implementation
from spanetv2.deploy.fold import ConstantFilter, DenseLocal, FoldedSPAM
from spanetv2.deploy.prepared import PreparedLocal


def _network(name: str = "pico_pure", **options) -> torch.nn.Module:
    torch.manual_seed(0)
    model = create_model(name, **{"num_classes": 5, "img_size": 64, "stem_stride": 2, **options})
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key.endswith(("theta", "alpha")):
                parameter.normal_(std=2.0)
            elif parameter.ndim == 1:  # norms, StarReLU, residual scales, biases
                parameter.add_(torch.randn_like(parameter) * 0.3)
    return model.eval()


def _relative_rms(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("name", ["pico_pure", "pico_hybrid"])
@pytest.mark.parametrize("order", ["interleaved", "concatenated"])
@pytest.mark.parametrize("size", [64, (48, 80), 33])
def test_optimised_network_has_the_same_outputs(name, order, size):
    model = _network(name, head_order=order, gate="scaled_sigmoid")
    height, width = (size, size) if isinstance(size, int) else size
    x = torch.randn(2, 3, height, width)
    fast = optimize_for_inference(model, size)
    with torch.no_grad():
        expected = model(x)
        assert _relative_rms(fast(x), expected) < 1e-5
        assert _relative_rms(fast.forward_features(x), model.forward_features(x)) < 1e-5
    assert not any(parameter.requires_grad for parameter in fast.parameters())
    kinds = {type(module) for module in fast.modules()}
    assert ConstantFilter in kinds
    assert DenseLocal in kinds or name == "pico_hybrid"


def test_network_for_kernels_has_the_same_outputs():
    """In Triton's interpreter, where there is no GPU; without Triton by products."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = _network(gate="scaled_sigmoid", img_size=32).to(device)  # grids of 16, 8, 4 and 2
    x = torch.randn(2, 3, 32, 32, device=device)
    with torch.no_grad():
        expected = model(x)
        fast = optimize_for_inference(set_implementation(model, "fused"))
        assert _relative_rms(fast(x), expected) < 1e-5
        half = copy.deepcopy(fast).bfloat16()
        assert _relative_rms(half(x.bfloat16()), expected) < 0.1
        compiled = torch.compile(fast, fullgraph=True, backend="aot_eager")
        assert _relative_rms(compiled(x), expected) < 1e-5
        exported = torch.export.export(fast, (x,), strict=False)
        assert "spanetv2" not in str(exported.graph)
        assert _relative_rms(exported.module()(x), expected) < 1e-5
    forms = {type(module): module for module in fast.modules()}
    assert PreparedLocal in forms
    known = [mixer.token_mixing for mixer in fast.modules() if isinstance(mixer, FoldedSPAM)]
    assert forms[PreparedLocal].otherwise in known
    assert DenseLocal in forms
    x.requires_grad_()  # kernels with constants have no gradients: products do
    (grad,) = torch.autograd.grad(fast(x).sum(), x)
    (wanted,) = torch.autograd.grad(set_implementation(model, "auto")(x).sum(), x)
    assert _relative_rms(grad, wanted) < 1e-4


def test_original_is_untouched():
    model = _network()
    before = copy.deepcopy(model.state_dict())
    size = model.img_size
    optimize_for_inference(model, 48)
    assert model.img_size == size
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_optimised_network_in_bfloat16_is_close():
    model = _network()
    x = torch.randn(2, 3, 64, 64)
    fast = optimize_for_inference(model).bfloat16()
    with torch.no_grad():
        got = fast(x.bfloat16())
        assert got.dtype == torch.bfloat16
        assert _relative_rms(got, model(x)) < 0.1
        half = optimize_for_inference(copy.deepcopy(model).bfloat16())
        assert _relative_rms(half(x.bfloat16()), model(x)) < 0.1


def test_optimised_network_compiles_without_a_break():
    model = _network()
    x = torch.randn(2, 3, 64, 64)
    fast = torch.compile(optimize_for_inference(model), fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert _relative_rms(fast(x), model(x)) < 1e-5


def test_another_size_is_refused_by_name():
    fast = optimize_for_inference(_network())
    with (
        torch.no_grad(),
        pytest.raises(UserError, match="got a grid of 40 x 40 tokens, expected 32 x 32"),
    ):
        fast(torch.randn(1, 3, 80, 80))


def test_other_networks_are_refused():
    with pytest.raises(UserError, match="got a Linear, expected a SPANetV2"):
        optimize_for_inference(torch.nn.Linear(2, 2))
