"""The spectral filter against its definition, term by term, in float64."""

import math

import pytest
import torch

from spanetv2.ops.spectral_rescale import (
    half_spectrum,
    resize_theta,
    spectral_gain,
    spectral_rescale,
)

GRIDS = [(7, 7), (14, 14), (15, 15), (8, 5), (5, 8), (1, 1), (1, 6), (6, 1), (2, 2)]


def _fourier(n: int) -> torch.Tensor:
    index = torch.arange(n, dtype=torch.float64)
    angle = 2 * math.pi * torch.outer(index, index) / n
    return torch.complex(angle.cos(), -angle.sin()) / math.sqrt(n)


def _by_definition(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
    """Full complex spectrum; the effective gain of (p, q) is even, as the output is real."""
    H, W = x.shape[-2:]
    full = torch.zeros(gain.shape[0], H, W, dtype=torch.float64)
    for p in range(H):
        for q in range(W):
            mirror = (-p % H, -q % W)
            a = gain[:, p, q] if q <= W // 2 else gain[:, mirror[0], mirror[1]]
            b = gain[:, mirror[0], mirror[1]] if mirror[1] <= W // 2 else gain[:, p, q]
            full[:, p, q] = (a + b) / 2
    rows, columns = _fourier(H), _fourier(W)
    spectrum = rows @ x.to(torch.complex128) @ columns
    y = rows.conj() @ (spectrum * full) @ columns.conj()
    assert y.imag.abs().max() < 1e-12
    return y.real


@pytest.mark.parametrize("grid", GRIDS)
def test_spectral_rescale_is_the_definition(grid):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *grid, generator=generator)
    gain = torch.rand(3, *half_spectrum(grid), generator=generator)
    expected = _by_definition(x.double(), gain.double())
    got = spectral_rescale(x, gain).double()
    assert torch.linalg.norm(got - expected) <= 1e-6 * torch.linalg.norm(expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_spectral_rescale_keeps_dtype_and_computes_in_float32(dtype):
    x = torch.randn(2, 4, 9, 7).to(dtype)
    gain = torch.rand(4, 9, 4)
    got = spectral_rescale(x, gain)
    assert got.dtype == dtype
    assert torch.equal(got, spectral_rescale(x.float(), gain).to(dtype))


def test_spectral_rescale_reads_any_memory_layout():
    x = torch.randn(2, 6, 8, 8)
    gain = torch.rand(6, 8, 5)
    strided = x.to(memory_format=torch.channels_last)[:, ::2]
    torch.testing.assert_close(
        spectral_rescale(strided, gain[::2]), spectral_rescale(x, gain)[:, ::2]
    )


def test_spectral_rescale_only_attenuates():
    x = torch.randn(4, 8, 14, 14)
    y = spectral_rescale(x, torch.rand(8, 14, 8))
    assert (y.square().sum((2, 3)) <= x.square().sum((2, 3))).all()


def test_spectral_rescale_gradients():
    x = torch.randn(1, 2, 5, 6, requires_grad=True)
    gain = torch.rand(2, 5, 4, requires_grad=True)
    spectral_rescale(x, gain).square().sum().backward()
    assert x.grad is not None
    assert gain.grad is not None
    step = 1e-2
    for tensor, grad, index in ((x, x.grad, (0, 1, 2, 3)), (gain, gain.grad, (1, 2, 1))):
        values = []
        for sign in (1, -1):
            moved = tensor.detach().clone()
            moved[index] += sign * step
            pair = (moved, gain.detach()) if tensor is x else (x.detach(), moved)
            values.append(spectral_rescale(*pair).double().square().sum())
        numeric = (values[0] - values[1]) / (2 * step)
        torch.testing.assert_close(grad[index].double(), numeric, rtol=1e-3, atol=1e-4)


def test_resize_theta_is_exact_on_its_own_grid():
    theta = torch.randn(3, 14, 8)
    assert resize_theta(theta, 14, 14) is theta
    assert torch.equal(resize_theta(theta, 14, 15), theta)  # 14 and 15 columns share K = 8


def test_resize_theta_aligns_corners():
    theta = torch.randn(3, 14, 8)
    resized = resize_theta(theta, 28, 20)
    assert resized.shape == (3, 28, 11)
    for rows, columns in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        torch.testing.assert_close(resized[:, rows, columns], theta[:, rows, columns])


def test_spectral_gain_scales_before_the_sigmoid():
    theta = torch.randn(2, 6, 4)
    torch.testing.assert_close(spectral_gain(theta, 6, 6), theta.sigmoid())
    slope = torch.tensor([1.7])
    torch.testing.assert_close(spectral_gain(theta, 6, 6, slope), (1.7 * theta).sigmoid())
