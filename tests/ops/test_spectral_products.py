"""Matrix products against the FFT: values and every gradient, on any grid, dtype and layout."""

import pytest
import torch

from spanetv2.ops.spectral_rescale import (
    fourier_bases,
    half_spectrum,
    prefer_products,
    spectral_rescale,
    spectral_rescale_products,
)

GRIDS = [(7, 7), (14, 14), (15, 15), (56, 56), (8, 5), (5, 8), (1, 1), (1, 6), (6, 1), (2, 2)]
# relative root mean square; products in half precision round between the transforms
TOLERANCES = {torch.float32: 1e-6, torch.bfloat16: 1e-2, torch.float16: 1.5e-3}


def _relative_rms(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got.double() - expected.double()).norm() / expected.double().norm())


def _inputs(grid, channels=6, batch=2):
    generator = torch.Generator().manual_seed(sum(grid))
    x = torch.randn(batch, *grid, channels, generator=generator)
    gain = torch.rand(channels, *half_spectrum(grid), generator=generator)
    return x, gain


def _reference(x_BHWC, gain_CHK):
    return spectral_rescale(x_BHWC.permute(0, 3, 1, 2), gain_CHK).permute(0, 2, 3, 1)


def _products(x_BHWC, gain_CHK):
    return spectral_rescale_products(x_BHWC, gain_CHK.permute(1, 2, 0))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_products_are_the_fft(grid, dtype):
    x, gain = _inputs(grid)
    got = _products(x.to(dtype), gain)
    assert got.dtype == dtype
    assert _relative_rms(got, _reference(x.to(dtype).float(), gain)) < TOLERANCES[dtype]


@pytest.mark.parametrize("side", [14, 56, 96])
def test_large_constant_maps_do_not_overflow_in_float16(side):
    gain = torch.rand(2, *half_spectrum((side, side)))
    x = torch.full((1, side, side, 2), 3e4, dtype=torch.float16)
    got = _products(x, gain).float()
    assert _relative_rms(got, _reference(x.float(), gain)) < 2e-3


@pytest.mark.parametrize("grid", GRIDS)
def test_products_have_the_gradients_of_the_fft(grid):
    x, gain = _inputs(grid)
    outward = torch.randn(x.shape, generator=torch.Generator().manual_seed(9))
    gradients = []
    for function in (_reference, _products):
        inputs = [x.clone().requires_grad_(), gain.clone().requires_grad_()]
        gradients.append(torch.autograd.grad(function(*inputs), inputs, outward))
    for expected, got in zip(*gradients, strict=True):
        assert _relative_rms(got, expected) < 1e-6


def test_products_are_exact_in_float64():
    x, gain = _inputs((9, 12))
    got = _products(x.double(), gain.double())
    spectrum = torch.fft.rfft2(x.double().permute(0, 3, 1, 2))
    expected = torch.fft.irfft2(spectrum * gain.double(), s=(9, 12)).permute(0, 2, 3, 1)
    assert _relative_rms(got, expected) < 1e-12


def test_products_read_any_memory_layout():
    x, gain = _inputs((10, 7), channels=8)
    channels_first = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    torch.testing.assert_close(_products(channels_first, gain), _products(x, gain))
    torch.testing.assert_close(_products(x[..., ::2], gain[::2]), _products(x, gain)[..., ::2])


def test_products_of_a_gain_of_one_change_nothing():
    x, gain = _inputs((14, 15))
    assert _relative_rms(_products(x, torch.ones_like(gain)), x) < 1e-6


def test_fourier_bases_follow_dtype_and_survive_inference_mode():
    with torch.inference_mode():
        first = fourier_bases(11, 3, torch.zeros(1))
    assert first.columns is fourier_bases(11, 3, torch.zeros(1)).columns
    assert fourier_bases(11, 3, torch.zeros(1, dtype=torch.bfloat16)).rows.dtype == torch.bfloat16
    x, gain = _inputs((11, 3))
    x.requires_grad_()
    _products(x, gain).sum().backward()
    assert x.grad is not None


def test_products_compile_with_a_dynamic_grid():
    function = torch.compile(_products, fullgraph=True, dynamic=True, backend="aot_eager")
    for grid in ((8, 8), (9, 12), (13, 7)):
        x, gain = _inputs(grid)
        assert _relative_rms(function(x, gain), _reference(x, gain)) < 1e-6


def test_prefer_products_on_the_grids_of_a_backbone_only():
    assert all(prefer_products(side, side) for side in (7, 14, 28, 56))
    assert not prefer_products(200, 320)
