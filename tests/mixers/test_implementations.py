"""Every implementation of SPAM gives the same outputs and gradients from the same state dict."""

import pytest
import torch

from spanetv2 import UserError, create_model, set_implementation
from spanetv2.mixers import SPAM
from spanetv2.mixers.spectral import IMPLEMENTATIONS, SpectralRescale

FAST = [name for name in IMPLEMENTATIONS if name != "reference"]


def _mixer(order: str, dim: int = 64, grid: tuple[int, int] = (9, 7)) -> SPAM:
    torch.manual_seed(0)
    mixer = SPAM(dim, grid, head_order=order, gate="scaled_sigmoid")
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return mixer


def _gradients(mixer: SPAM, x: torch.Tensor, run) -> list[torch.Tensor]:
    x = x.clone().requires_grad_()
    out = run(x)
    outward = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return [out.detach(), *torch.autograd.grad(out, [x, *mixer.parameters()], outward)]


def _compare(got: list[torch.Tensor], expected: list[torch.Tensor], tolerance: float) -> None:
    for one, other in zip(got, expected, strict=True):
        assert float((one - other).norm()) <= tolerance * float(other.norm())


@pytest.mark.parametrize("order", ["interleaved", "concatenated"])
@pytest.mark.parametrize("implementation", FAST)
@pytest.mark.parametrize("grid", [(9, 7), (12, 10)])
def test_implementation_is_the_reference(implementation, order, grid):
    dim = 4 if implementation == "fused" else 64  # Triton's interpreter is slow
    mixer = _mixer(order, dim)
    x = torch.randn(1, *grid, dim)
    expected = _gradients(mixer, x, set_implementation(mixer, "reference"))
    _compare(_gradients(mixer, x, set_implementation(mixer, implementation)), expected, 2e-5)


@pytest.mark.parametrize("order", ["interleaved", "concatenated"])
def test_compiled_form_is_the_reference(order):
    mixer = _mixer(order)
    x = torch.randn(2, 9, 7, 64)
    expected = _gradients(mixer, x, set_implementation(mixer, "reference"))
    set_implementation(mixer, "auto")
    compiled = torch.compile(mixer, fullgraph=True, backend="aot_eager")
    _compare(_gradients(mixer, x, compiled), expected, 2e-5)


def test_large_grids_keep_the_fft_unless_products_are_asked_for(monkeypatch):
    from spanetv2.mixers import spectral

    used = []
    functions = [f"spectral_rescale{how}" for how in ("", "_products", "_hartley")]
    for name in functions:
        original = getattr(spectral, name)

        def spy(*args, _original=original, _name=name):
            used.append(_name)
            return _original(*args)

        monkeypatch.setattr(spectral, name, spy)
    layer = SpectralRescale(4, (7, 7))
    small, large = torch.randn(1, 4, 14, 14), torch.randn(1, 4, 200, 320)
    layer(small)
    layer(large)
    layer(small.bfloat16())
    layer.implementation = "products"
    layer(large)
    layer.implementation = "reference"
    layer(small)
    fft, products, hartley = functions
    assert used == [hartley, fft, products, products, fft]


def test_setting_changes_no_state_and_refuses_what_it_does_not_know():
    model = create_model("pico_pure", num_classes=2, img_size=32)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    set_implementation(model, "products")
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with pytest.raises(UserError, match="got implementation='fft', expected one of 'auto'"):
        set_implementation(model, "fft")
    with pytest.raises(UserError, match="without SPAM"):
        set_implementation(torch.nn.Linear(2, 2), "auto")
