"""Multiply-adds against closed forms."""

import math

import pytest
import torch
from torch import Tensor, nn

import spanetv2
from spanetv2.mixers import Attention, SpectralRescale
from spanetv2.models.costs import count_parameters, multiply_adds


class Filter(nn.Module):
    """A real transform along some axes and back, or a complex one there and back."""

    def __init__(self, dims: tuple[int, ...], *, real: bool = True) -> None:
        super().__init__()
        self.dims, self.real = dims, real

    def forward(self, x: Tensor) -> Tensor:
        if not self.real:
            return torch.fft.ifftn(torch.fft.fftn(x + 0j, dim=self.dims), dim=self.dims)
        sizes = [x.shape[dim] for dim in self.dims]
        return torch.fft.irfftn(torch.fft.rfftn(x, dim=self.dims), s=sizes, dim=self.dims)


@pytest.mark.parametrize(("dims", "points"), [((2, 3), 12 * 7), ((2,), 12), ((-1,), 7)])
def test_transforms_cost_n_log_n(dims: tuple[int, ...], points: int) -> None:
    values = 5 * 3 * 12 * 7
    real = multiply_adds(Filter(dims), (5, 3, 12, 7))
    assert real.transforms == pytest.approx(values * (2.5 * math.log2(points) + 1))
    assert (real.products, real.layers) == (0, 0)
    full = multiply_adds(Filter(dims, real=False), (5, 3, 12, 7))
    assert full.transforms == pytest.approx(values * 5 * math.log2(points))


@pytest.mark.parametrize("implementation", ["auto", "reference", "products"])
def test_spectral_filters_are_counted_by_their_definition(implementation: str) -> None:
    spectral = SpectralRescale(8, (16, 16))
    spectral.implementation = implementation
    cost = multiply_adds(spectral, (2, 8, 16, 16))
    assert cost.transforms == 2 * 8 * 256 * (2.5 * 8 + 1)
    assert cost.products == 0
    assert cost.total == cost.transforms
    assert spectral.implementation == implementation


def test_layers_leave_out_the_products_inside_attention() -> None:
    tokens, channels = 6 * 5, 64
    cost = multiply_adds(Attention(channels), (1, 6, 5, channels))
    projections = 4 * tokens * channels**2
    assert cost.products == projections + 2 * tokens**2 * channels
    assert cost.layers == projections


def test_layers_have_biases_activations_and_norms() -> None:
    network = nn.Sequential(
        nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.GELU()
    )
    cost = multiply_adds(network, (1, 4, 10, 10))
    assert cost.products == 25 * 8 * 36
    assert cost.layers == 25 * 8 * (36 + 1 + 2 + 1)
    upsampling = multiply_adds(nn.ConvTranspose2d(4, 2, 2, stride=2), (1, 4, 10, 10))
    assert upsampling.products == 100 * 4 * 2 * 4
    assert upsampling.layers == 100 * 4 * 2 * 4 + 2 * 400


def test_the_network_is_left_as_it_is() -> None:
    network = spanetv2.create_model("pico_hybrid", num_classes=3, img_size=32).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    half = multiply_adds(network, (1, 3, 32, 32))
    assert multiply_adds(network, (2, 3, 32, 32)).total == 2 * half.total
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_call_may_run_a_part() -> None:
    network = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 2)])
    cost = multiply_adds(network, (1, 4), lambda copy, x: copy[0](x))
    assert cost.products == 32
    assert count_parameters(network) == 40 + 18
