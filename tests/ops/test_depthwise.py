"""The heads' convolutions as band products against ``conv2d`` in float64, and every gradient."""

import importlib.util

import pytest
import torch
import torch.nn.functional as F

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton does not come with PyTorch here", allow_module_level=True)

from spanetv2.ops.depthwise.operator import depthwise_heads

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
CASES = [(dtype, 4, 1, (5, 21)) for dtype in DTYPES]
CASES += [
    (torch.float32, 8, 1, (3, 4)),
    (torch.float32, 4, 1, (1, 1)),
    (torch.float16, 4, 1, (2, 70)),
]
if DEVICE == "cuda":
    CASES += [(dtype, 16, 2, grid) for dtype in DTYPES for grid in ((96, 96), (200, 320), (77, 65))]


def _inputs(dtype=torch.float32, channels=4, batch=1, grid=(5, 21)):
    generator = torch.Generator().manual_seed(sum(grid))
    x = torch.randn(batch, channels, *grid, generator=generator)
    heads = [torch.randn(channels // 4, k, k, generator=generator) for k in (3, 5, 7, 9)]
    kernels = torch.cat([F.pad(head, [(9 - head.shape[-1]) // 2] * 4) for head in heads])
    bias = torch.randn(channels, generator=generator)
    return [x.to(DEVICE, dtype), kernels.to(DEVICE, dtype), bias.to(DEVICE)]


def _definition(x_BCHW, kernels_CTT, bias_C):
    return F.conv2d(x_BCHW, kernels_CTT[:, None], bias_C, padding=4, groups=x_BCHW.shape[1])


def _run(function, inputs, outward):
    leaves = [value.detach().requires_grad_() for value in inputs]
    out = function(*leaves)
    return [out.detach(), *torch.autograd.grad(out, leaves, outward)]


def _outward(inputs):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(inputs[0].shape, generator=generator).to(inputs[0])


@pytest.mark.parametrize(("dtype", "channels", "batch", "grid"), CASES, ids=str)
def test_depthwise_heads_are_the_convolutions(dtype, channels, batch, grid):
    inputs = _inputs(dtype, channels, batch, grid)
    outward = _outward(inputs)
    got = _run(depthwise_heads, inputs, outward)
    assert got[0].dtype == dtype
    exact = [value.double() for value in inputs]
    expected = _run(_definition, exact, outward.double())
    # Taps outside a head's kernel are no parameters; only the definition gives them a gradient.
    expected[2] = expected[2] * (inputs[1] != 0)
    # One value is stored, rounded to the dtype; the sums are float32.
    tolerance = torch.finfo(dtype).eps / 2 + 10 * torch.finfo(torch.float32).eps
    for one, other in zip(got, expected, strict=True):
        assert float((one.double() - other).norm() / other.norm()) < tolerance


def test_depthwise_heads_read_any_layout_and_write_all_of_their_buffers(monkeypatch):
    x, *others = _inputs()
    expected = _run(depthwise_heads, [x, *others], _outward([x]))
    wide = torch.full((*x.shape[:3], 2 * x.shape[3]), float("nan"), device=DEVICE)
    wide[..., ::2] = x
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True)  # memory without a value is filled with NaN
    try:
        got = _run(depthwise_heads, [wide[..., ::2], *others], _outward([x]).mT.contiguous().mT)
    finally:
        torch.use_deterministic_algorithms(False)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_depthwise_heads_are_well_registered():
    inputs = _inputs(grid=(3, 4))
    leaves = [value.detach().requires_grad_() for value in inputs]
    torch.library.opcheck(
        torch.ops.spanetv2.depthwise_heads.default, tuple(leaves), rtol=1e-4, atol=1e-5
    )


def test_depthwise_heads_compile_without_a_break():
    inputs = _inputs(grid=(3, 4))
    compiled = torch.compile(depthwise_heads, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs), depthwise_heads(*inputs))


def test_depthwise_heads_of_no_images():
    inputs = _inputs(batch=0)
    out, grad_x, *others = _run(depthwise_heads, inputs, _outward(inputs))
    assert out.shape == grad_x.shape == inputs[0].shape
    assert not any(value.any() for value in others)
