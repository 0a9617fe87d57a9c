"""The fast forms of SPAM's projection against its definition: values and every gradient."""

import pytest
import torch

from spanetv2.ops.grouped_mix import grouped_mix, grouped_mix_packed, grouped_mix_sliced

TOLERANCES = {torch.float32: 2e-6, torch.bfloat16: 1.5e-2, torch.float16: 2e-3}


def _inputs(channels: int, grid: tuple[int, int], offset: float = 0.0):
    generator = torch.Generator().manual_seed(channels)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    return [
        draw(3, *grid, channels) + offset,
        draw(2 * channels, 4, 1, 1),
        draw(2 * channels),
        draw(2 * channels),
        draw(channels, 2 * channels, 1, 1) / channels**0.5,
    ]


def _relative_rms(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize(
    ("channels", "grid"), [(8, (7, 7)), (64, (5, 9)), (192, (3, 4)), (20, (1, 1))]
)
def test_packed_is_the_definition(channels, grid, dtype, interleaved):
    inputs = [value.to(dtype) for value in _inputs(channels, grid)]
    got = grouped_mix_packed(*inputs, interleaved, 1e-5)
    assert got.dtype == dtype
    expected = grouped_mix(*[value.double() for value in inputs], interleaved, 1e-5)
    assert _relative_rms(got, expected) < TOLERANCES[dtype]


@pytest.mark.parametrize("interleaved", [True, False])
def test_packed_has_the_gradients_of_the_definition(interleaved):
    inputs = [value.double() for value in _inputs(16, (6, 5))]
    outward = torch.randn(3, 6, 5, 16, generator=torch.Generator().manual_seed(3)).double()
    gradients = []
    for function in (grouped_mix, grouped_mix_packed):
        leaves = [value.clone().requires_grad_() for value in inputs]
        out = function(*leaves, interleaved, 1e-5)
        gradients.append(torch.autograd.grad(out, leaves, outward))
    for expected, got in zip(*gradients, strict=True):
        assert _relative_rms(got, expected) < 1e-10


def test_packed_of_a_map_far_from_zero():
    inputs = _inputs(32, (8, 8), offset=30.0)
    expected = grouped_mix(*[value.double() for value in inputs], True, 1e-5)
    assert _relative_rms(grouped_mix_packed(*inputs, True, 1e-5), expected) < 1e-4


def test_packed_of_a_constant_map_is_finite():
    inputs = _inputs(8, (4, 4))
    inputs[0] = torch.zeros_like(inputs[0])
    got = grouped_mix_packed(*inputs, True, 1e-5)
    torch.testing.assert_close(got, grouped_mix(*inputs, True, 1e-5))


def test_the_head_order_matters():
    inputs = _inputs(16, (6, 6))
    got = grouped_mix_packed(*inputs, True, 1e-5)
    assert _relative_rms(got, grouped_mix(*inputs, False, 1e-5)) > 0.1


@pytest.mark.parametrize(
    ("channels", "grid"), [(8, (7, 7)), (64, (5, 9)), (192, (3, 4)), (20, (1, 1))]
)
def test_sliced_is_the_definition(channels, grid):
    inputs = _inputs(channels, grid)
    expected = grouped_mix(*[value.double() for value in inputs], True, 1e-5)
    assert _relative_rms(grouped_mix_sliced(*inputs, 1e-5), expected) < 2e-6


def test_sliced_has_the_gradients_of_the_definition():
    inputs = [value.double() for value in _inputs(16, (6, 5))]
    outward = torch.randn(3, 6, 5, 16, generator=torch.Generator().manual_seed(3)).double()
    gradients = []
    for function in (
        lambda *i: grouped_mix(*i, True, 1e-5),
        lambda *i: grouped_mix_sliced(*i, 1e-5),
    ):
        leaves = [value.clone().requires_grad_() for value in inputs]
        gradients.append(torch.autograd.grad(function(*leaves), leaves, outward))
    for expected, got in zip(*gradients, strict=True):
        assert _relative_rms(got, expected) < 1e-10


def test_sliced_of_a_map_far_from_zero():
    inputs = _inputs(32, (8, 8), offset=30.0)
    expected = grouped_mix(*[value.double() for value in inputs], True, 1e-5)
    assert _relative_rms(grouped_mix_sliced(*inputs, 1e-5), expected) < 1e-4
