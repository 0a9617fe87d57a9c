"""The fused operator against its definition: outputs and every gradient, in every dtype.

Without a GPU the kernels run in Triton's interpreter (tests/conftest.py asks for it).
"""

import importlib.util

import pytest
import torch

from spanetv2.errors import UserError
from spanetv2.ops.multiscale_spectral import (
    can_fuse,
    multiscale_spectral_reference,
    pack_kernels,
)

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton does not come with PyTorch here", allow_module_level=True)

from spanetv2.ops.multiscale_spectral.operator import multiscale_spectral

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
GRIDS = [(7, 7), (14, 14), (15, 9), (1, 1), (2, 30)]
# The interpreter takes seconds per map: every dtype on one grid, every grid in one dtype.
CASES = [(torch.float32, grid) for grid in GRIDS] + [
    (dtype, (7, 7)) for dtype in (torch.bfloat16, torch.float16)
]
TOLERANCES = {torch.float32: 2e-6, torch.bfloat16: 6e-3, torch.float16: 1e-3}


def _inputs(grid, channels=4, batch=2):
    generator = torch.Generator().manual_seed(sum(grid))
    heads = [
        torch.randn(channels // 4, 1, side, side, generator=generator) / side
        for side in (3, 5, 7, 9)
    ]
    return [
        torch.randn(batch, channels, *grid, generator=generator).to(DEVICE),
        pack_kernels(heads).to(DEVICE),
        torch.randn(channels, generator=generator).to(DEVICE),
        torch.rand(channels, grid[0], grid[1] // 2 + 1, generator=generator).to(DEVICE),
    ]


def _relative_rms(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize(("dtype", "grid"), CASES, ids=str)
def test_the_operator_is_the_definition(grid, dtype):
    x, *others = _inputs(grid)
    x = x.to(dtype)
    got = multiscale_spectral(x, *others)
    assert got.dtype == dtype
    assert _relative_rms(got, multiscale_spectral_reference(x.float(), *others)) < TOLERANCES[dtype]


@pytest.mark.parametrize(
    ("dtype", "grid"), [case for case in CASES if case[1] not in [(14, 14), (1, 1)]], ids=str
)
def test_the_operator_has_the_gradients_of_the_definition(dtype, grid):
    x, kernels, *others = _inputs(grid)
    x = x.to(dtype)
    outward = torch.randn(x.shape, generator=torch.Generator().manual_seed(5)).to(DEVICE)
    gradients = []
    for function, kind in (
        (multiscale_spectral_reference, torch.float32),
        (multiscale_spectral, dtype),
    ):
        leaves = [x.to(kind), kernels.clone(), *[value.clone() for value in others]]
        for leaf in leaves:
            leaf.requires_grad_()
        out = function(*leaves)
        gradients.append(torch.autograd.grad(out, leaves, outward.to(kind)))
    # Taps outside a head's kernel are no parameters; only the definition gives them a gradient.
    channels = kernels.shape[0]
    reach = 1 + torch.arange(channels, device=DEVICE) // (channels // 4)
    distance = (torch.arange(9, device=DEVICE) - 4).abs()
    used = torch.maximum(distance[:, None], distance[None, :])[None] <= reach[:, None, None]
    for index, (expected, got) in enumerate(zip(*gradients, strict=True)):
        if index == 1:
            expected = expected * used
            assert torch.equal(got * ~used, torch.zeros_like(got))
        assert _relative_rms(got, expected) < 2 * TOLERANCES[dtype]


def test_the_operator_reads_any_memory_layout():
    x, *others = _inputs((5, 7))
    expected = multiscale_spectral(x, *others)
    last = x.contiguous(memory_format=torch.channels_last)
    assert torch.equal(multiscale_spectral(last, *others), expected)
    wide = torch.full((2, 4, 5, 14), float("nan"), device=DEVICE)
    wide[..., ::2] = x
    assert torch.equal(multiscale_spectral(wide[..., ::2], *others), expected)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_the_operator_is_well_registered():
    inputs = _inputs((3, 4), batch=1)
    for value in inputs:
        value.requires_grad_()
    torch.library.opcheck(
        torch.ops.spanetv2.multiscale_spectral.default,
        tuple(inputs),
        rtol=1e-4,
        atol=1e-5,
    )


def test_the_operator_compiles_without_a_break():
    inputs = _inputs((6, 6), channels=4)
    function = torch.compile(multiscale_spectral, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(function(*inputs), multiscale_spectral(*inputs))


def test_the_operator_refuses_what_it_cannot_run():
    x, kernels, bias, gain = _inputs((5, 6), channels=4)
    with pytest.raises(UserError, match="1 to 64 a side"):
        multiscale_spectral(torch.zeros(1, 4, 65, 8), kernels, bias, gain)
    with pytest.raises(UserError, match="multiple of 4"):
        multiscale_spectral(x[:, :3], kernels, bias, gain)
    with pytest.raises(UserError, match=r"gain of shape \(4, 4, 4\), expected \(4, 5, 4\)"):
        multiscale_spectral(x, kernels, bias, gain[:, :4])
    assert can_fuse(torch.zeros(1, 4, 64, 64, device=DEVICE))
    assert not can_fuse(torch.zeros(1, 4, 65, 8, device=DEVICE))


def test_packed_kernels_are_the_depthwise_convolutions():
    x, kernels, bias, _ = _inputs((8, 9), channels=8)
    ones = torch.ones(8, 8, 5, device=DEVICE)
    got = multiscale_spectral_reference(x, kernels, bias, ones)
    for head in range(4):
        part = slice(2 * head, 2 * head + 2)
        middle = slice(3 - head, 6 + head)
        expected = torch.nn.functional.conv2d(
            x[:, part],
            kernels[part, middle, middle][:, None],
            bias[part],
            padding=1 + head,
            groups=2,
        )
        torch.testing.assert_close(got[:, part], expected, rtol=1e-4, atol=1e-5)
