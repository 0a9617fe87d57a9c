"""The filter by Hartley transforms against its definition: values and every gradient."""

import pytest
import torch

from spanetv2.ops.spectral_rescale import hartley_gain, spectral_rescale, spectral_rescale_hartley

GRIDS = [(7, 7), (14, 14), (56, 56), (5, 8), (8, 5), (1, 6), (2, 1), (1, 1)]


def _inputs(grid: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(sum(grid))
    x_BCHW = torch.randn(2, 3, *grid, generator=generator)
    return x_BCHW, torch.rand(3, grid[0], grid[1] // 2 + 1, generator=generator)


def _by_hartley(x_BCHW: torch.Tensor, gain_CHK: torch.Tensor) -> torch.Tensor:
    gain_2HWC = hartley_gain(gain_CHK.permute(1, 2, 0), x_BCHW.shape[3])
    return spectral_rescale_hartley(x_BCHW.permute(0, 2, 3, 1), gain_2HWC).permute(0, 3, 1, 2)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_hartley_is_the_definition(grid):
    x_BCHW, gain_CHK = _inputs(grid)
    expected = spectral_rescale(x_BCHW, gain_CHK)
    assert (_by_hartley(x_BCHW, gain_CHK) - expected).norm() < 1e-6 * expected.norm()


@pytest.mark.parametrize("grid", [(7, 7), (6, 8), (5, 4)], ids=str)
def test_hartley_has_the_gradients_of_the_definition(grid):
    inputs = _inputs(grid)
    outward = torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(3))
    gradients = []
    for function in (spectral_rescale, _by_hartley):
        leaves = [value.clone().requires_grad_() for value in inputs]
        gradients.append(torch.autograd.grad(function(*leaves), leaves, outward))
    for expected, got in zip(*gradients, strict=True):
        assert (got - expected).norm() < 2e-6 * expected.norm()


def test_hartley_gain_mirrors_nothing_where_frequencies_are_their_own_image():
    _, gain_CHK = _inputs((6, 8))
    mirrored_HWC = hartley_gain(gain_CHK.permute(1, 2, 0), 8)[1]
    alone = (mirrored_HWC == 0).all(2)
    # rows and columns 0 and L / 2, at the first and the last place
    for edge in (alone[0], alone[-1], alone[:, 0], alone[:, -1]):
        assert edge.all()
    assert not alone[1:-1, 1:-1].any()
