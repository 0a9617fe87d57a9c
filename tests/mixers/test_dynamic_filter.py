"""DFFormer's mixer against a circular convolution in space, written anew from its description."""

import pytest
import torch
from torch import Tensor

from spanetv2 import create_model
from spanetv2.errors import UserError
from spanetv2.mixers import DynamicFilter


def relative(got: Tensor, expected: Tensor) -> float:
    return float(((got - expected).norm() / expected.norm()).detach())


def mixer_of(grid: tuple[int, int], filters: int = 4, dim: int = 8) -> DynamicFilter:
    torch.manual_seed(0)
    mixer = DynamicFilter(dim, grid, filters=filters).double()
    with torch.no_grad():
        mixer.bases.mul_(20)
        mixer.reweight[0].weight.mul_(3)
        mixer.reweight[2].weight.mul_(5)
        mixer.act.scale.fill_(0.7)
        mixer.act.bias.fill_(-0.2)
    return mixer


def definition(mixer: DynamicFilter, x_BHWC: Tensor) -> Tensor:
    """Kernels in space, and a sum over all shifts of the grid."""

    def star(x: Tensor, act: torch.nn.Module) -> Tensor:
        return act.scale * x.clamp(min=0) ** 2 + act.bias

    batch, height, width, dim = x_BHWC.shape
    hidden = star(x_BHWC.mean((1, 2)) @ mixer.reweight[0].weight.T, mixer.reweight[1])
    logits = (hidden @ mixer.reweight[2].weight.T).view(batch, 2 * dim, mixer.filters)
    shares = logits.exp() / logits.exp().sum(-1, keepdim=True)
    # the real kernel of a half spectrum, so that its product with a transform is a convolution
    kernels_NHW = torch.fft.irfft2(torch.complex(*mixer.bases.unbind(1)), s=(height, width))
    kernels_BEHW = torch.einsum("ben,nhw->behw", shares, kernels_NHW)
    y_BEHW = star(x_BHWC @ mixer.expand.weight.T, mixer.act).permute(0, 3, 1, 2)
    z_BEHW = torch.zeros_like(y_BEHW)
    for row in range(height):
        for column in range(width):
            moved = y_BEHW.roll((row, column), (2, 3))
            z_BEHW = z_BEHW + kernels_BEHW[:, :, row, column, None, None] * moved
    return z_BEHW.permute(0, 2, 3, 1) @ mixer.project.weight.T


@pytest.mark.parametrize("grid", [(7, 7), (4, 6), (5, 2), (1, 1)])
@pytest.mark.parametrize("filters", [1, 4])
def test_is_a_circular_convolution_with_a_kernel_for_each_image(grid, filters) -> None:
    mixer = mixer_of(grid, filters)
    x_BHWC = torch.randn(3, 8, *grid, dtype=torch.double).permute(0, 2, 3, 1).requires_grad_()
    weights = torch.randn(3, *grid, 8, dtype=torch.double)
    inputs = [x_BHWC, *mixer.parameters()]
    got, expected = (call(x_BHWC) for call in (mixer, lambda x: definition(mixer, x)))
    assert expected.std() > 1e-3
    assert relative(got, expected) < 1e-5  # the spectra are float32
    gradients = (
        torch.autograd.grad((y * weights).sum(), inputs, allow_unused=True) for y in (got, expected)
    )
    for one, other in zip(*gradients, strict=True):
        if filters == 1 and float(other.norm()) < 1e-9:  # one filter has the share 1 whatever x is
            assert float(one.norm()) < 1e-4
        else:
            assert relative(one, other) < 1e-4


def test_the_filter_depends_on_the_image_alone() -> None:
    mixer = mixer_of((6, 6)).eval()
    x = torch.randn(2, 6, 6, 8, dtype=torch.double)
    first, second = mixer.spectra(x)
    assert relative(first, second) > 1e-2
    moved = x.roll((2, 5), (1, 2))
    torch.testing.assert_close(mixer(moved), mixer(x).roll((2, 5), (1, 2)), rtol=1e-4, atol=1e-6)


def test_resizes_its_bases_for_other_grids() -> None:
    mixer = mixer_of((8, 8)).eval()
    x = torch.randn(1, 12, 10, 8, dtype=torch.double)
    expected = mixer(x)
    mixer.set_grid((12, 10))
    assert mixer.bases.shape == (4, 2, 12, 6)
    assert relative(mixer(x), expected) < 1e-5
    assert relative(definition(mixer, x), expected) < 1e-5


@pytest.mark.parametrize(("dtype", "most"), [(torch.bfloat16, 0.03), (torch.float16, 0.005)])
def test_answers_in_half_precision(dtype, most) -> None:
    mixer = mixer_of((7, 7)).eval().float()
    x = torch.randn(2, 7, 7, 8)
    got = mixer.to(dtype)(x.to(dtype))
    assert got.dtype == dtype
    assert 1e-5 < relative(got.float(), mixer.float()(x)) < most


def test_a_network_is_re_based_with_its_filters() -> None:
    model = create_model("pico_pure", num_classes=2, img_size=64, mixers=["dynamic_filter"] * 4)
    model.set_input_size(96)
    sides = [stage.blocks[0].token_mixer.bases.shape[2] for stage in model.stages]
    assert sides == [24, 12, 6, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": 0}, "got filters=0, expected a positive number"),
        ({"dim": 3}, "got dim=3, expected 4 channels or more"),
    ],
)
def test_refuses_what_is_no_bank_of_filters(options, message) -> None:
    with pytest.raises(UserError, match=message):
        DynamicFilter(**{"dim": 8, "grid": (7, 7)} | options)
