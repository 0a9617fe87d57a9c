"""The filter as products with channels first against its definition, and both gradients."""

import pytest
import torch

from spanetv2.ops.spectral_rescale import (
    prefer_products_on_gpu,
    spectral_rescale_channels_first,
)

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
# Rounded are the waves, and what each of four products and the gain between them store.
TOLERANCES = {
    torch.float64: 1e-13,
    torch.float32: 2e-6,
    torch.bfloat16: 1.6e-2,
    torch.float16: 2e-3,
}


def _definition(x_BCHW, gain_CHK):
    spectrum = torch.fft.rfft2(x_BCHW, norm="ortho") * gain_CHK
    return torch.fft.irfft2(spectrum, s=x_BCHW.shape[2:], norm="ortho")


def _run(function, x, gain, outward):
    leaves = [x.detach().requires_grad_(), gain.detach().requires_grad_()]
    out = function(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, outward)]


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("grid", [(96, 96), (7, 10), (5, 9), (1, 1), (2, 3), (100, 70)])
def test_products_are_the_filter(dtype, grid):
    generator = torch.Generator().manual_seed(sum(grid))
    x = torch.randn(2, 3, *grid, generator=generator).to(DEVICE, dtype)
    gain = torch.rand(3, grid[0], grid[1] // 2 + 1, generator=generator).to(DEVICE)
    gain = gain.to(torch.promote_types(dtype, torch.float32))
    outward = torch.randn(x.shape, generator=generator).to(x)
    got = _run(spectral_rescale_channels_first, x, gain, outward)
    expected = _run(_definition, x.double(), gain.double(), outward.double())
    for one, other in zip(got, expected, strict=True):
        assert float((one.double() - other).norm() / other.norm()) < TOLERANCES[dtype]


def test_a_constant_map_of_float16_does_not_overflow():
    x = torch.full((1, 1, 128, 128), 2000.0, dtype=torch.float16, device=DEVICE)
    gain = torch.ones(1, 128, 65, device=DEVICE)
    torch.testing.assert_close(spectral_rescale_channels_first(x, gain), x, rtol=2e-3, atol=0)


def test_half_precision_prefers_products_on_larger_grids():
    assert prefer_products_on_gpu(200, 320, torch.bfloat16)
    assert prefer_products_on_gpu(96, 96, torch.float32)
    assert not prefer_products_on_gpu(128, 128, torch.float32)
    assert not prefer_products_on_gpu(1000, 1000, torch.float16)
