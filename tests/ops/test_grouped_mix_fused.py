"""The projection's kernels against its definition in float64: values and every gradient.

Without a GPU the kernels run in Triton's interpreter (tests/conftest.py asks for it).
"""

import importlib.util

import pytest
import torch

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton does not come with PyTorch here", allow_module_level=True)

from spanetv2.ops.grouped_mix import grouped_mix, operator, settings
from spanetv2.ops.grouped_mix.operator import grouped_mix_fused

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# The interpreter takes seconds per map: every dtype on one grid, every grid in one dtype.
CASES = [(dtype, 8, 2, (7, 7)) for dtype in DTYPES] + [
    (torch.float32, 8, 2, (15, 9)),
    (torch.float32, 20, 2, (1, 1)),
    (torch.float32, 12, 2, (2, 30)),
    (torch.bfloat16, 16, 2, (14, 14)),
    (torch.bfloat16, 4, 1, (28, 28)),
    (torch.bfloat16, 4, 1, (56, 56)),
]
if DEVICE == "cuda":
    CASES += [(dtype, 64, 3, (n, n)) for dtype in DTYPES for n in (7, 14, 15, 28, 56, 96)]


def _inputs(dtype=torch.float32, channels=8, batch=2, grid=(7, 7), offset=0.0):
    generator = torch.Generator().manual_seed(channels)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    inputs = [
        draw(batch, channels, *grid) + offset,
        draw(2 * channels, 4, 1, 1),
        draw(2 * channels),
        draw(2 * channels),
        draw(channels, 2 * channels, 1, 1) / channels**0.5,
    ]
    return [value.to(DEVICE, dtype) for value in inputs]


def _definition(y_BCHW, *others):
    return grouped_mix(y_BCHW.permute(0, 2, 3, 1), *others).flatten(1, 2)


def _run(function, inputs, outward, interleaved=True):
    """The output and the gradient of every input."""
    leaves = [value.detach().requires_grad_() for value in inputs]
    out = function(*leaves, interleaved, 1e-5)
    return [out.detach(), *torch.autograd.grad(out, leaves, outward)]


def _outward(inputs):
    images, channels, height, width = inputs[0].shape
    generator = torch.Generator().manual_seed(3)
    outward = torch.randn(images, height * width, channels, generator=generator)
    return outward.to(DEVICE, inputs[0].dtype)


def _errors(inputs, interleaved=True):
    """Relative errors of the output and of the gradients. The definition gets the same numbers,
    those that were rounded."""
    outward = _outward(inputs)
    got = _run(grouped_mix_fused, inputs, outward, interleaved)
    exact = [value.double() for value in inputs]
    expected = _run(_definition, exact, outward.double(), interleaved)
    return [
        float((one.double() - other).norm() / other.norm())
        for one, other in zip(got, expected, strict=True)
    ]


def _tolerance(dtype: torch.dtype, roundings: int) -> float:
    """A rounding to the dtype is off by at most half its spacing, which is what a value that is
    stored costs; sums in float32 are off by some of theirs."""
    return roundings * torch.finfo(dtype).eps / 2 + 20 * torch.finfo(torch.float32).eps


@pytest.mark.parametrize(
    ("dtype", "channels", "batch", "grid", "interleaved"),
    [(*case, True) for case in CASES] + [(*case, False) for case in CASES[:3]],
    ids=str,
)
def test_fused_is_the_definition(dtype, channels, batch, grid, interleaved):
    value, *gradients = _errors(_inputs(dtype, channels, batch, grid), interleaved)
    # Stored on the way: the expanded map and the output; its gradient and that of the input.
    assert value < _tolerance(dtype, 2)
    assert max(gradients) < _tolerance(dtype, 3), gradients


def test_fused_takes_its_sums_in_shares(monkeypatch):
    monkeypatch.setattr(operator, "_SHARE", 40)  # of 77 tokens, for the statistics
    monkeypatch.setattr(operator, "_CHUNK", 20)
    monkeypatch.setattr(operator, "_PROGRAMS", 3)
    errors = _errors(_inputs(channels=20, grid=(7, 11)))
    assert max(errors) < _tolerance(torch.float32, 3), errors


def test_fused_of_a_map_far_from_zero():
    value, *gradients = _errors(_inputs(channels=32, grid=(8, 8), offset=30.0))
    assert value < 1e-5
    assert max(gradients) < 1e-5


def test_fused_of_a_constant_map_is_finite():
    inputs = _inputs(grid=(4, 4))
    inputs[0] = torch.zeros_like(inputs[0])
    got = _run(grouped_mix_fused, inputs, _outward(inputs))
    for one, other in zip(got, _run(_definition, inputs, _outward(inputs)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)  # 1 / std is over 300


def test_fused_of_no_images():
    inputs = _inputs(batch=0)
    out, grad_y, *others = _run(grouped_mix_fused, inputs, _outward(inputs))
    assert out.shape == (0, 49, 8)
    assert grad_y.shape == inputs[0].shape
    assert not any(value.any() for value in others)


def _layouts(y_BCHW):
    yield "channels last", y_BCHW.contiguous(memory_format=torch.channels_last)
    yield "channels outermost", y_BCHW.transpose(0, 1).contiguous().transpose(0, 1)
    wide = torch.full((*y_BCHW.shape[:3], 2 * y_BCHW.shape[3]), float("nan"), device=DEVICE)
    wide[..., ::2] = y_BCHW
    yield "every second column", wide[..., ::2]
    more = torch.full((y_BCHW.shape[0], 12, *y_BCHW.shape[2:]), float("nan"), device=DEVICE)
    more[:, 2:10] = y_BCHW
    yield "a part of the channels", more[:, 2:10]


@pytest.mark.parametrize("index", range(4))
def test_fused_reads_any_memory_layout(index):
    y, *others = _inputs(grid=(5, 7))
    expected = _run(grouped_mix_fused, [y, *others], _outward([y]))
    name, laid = list(_layouts(y))[index]
    outward = _outward([y]).transpose(1, 2).contiguous().transpose(1, 2)
    got = _run(grouped_mix_fused, [laid, *others], outward)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6, msg=name)


def test_fused_writes_all_of_its_buffers(monkeypatch):
    inputs = _inputs(channels=20, grid=(3, 5))
    expected = _run(grouped_mix_fused, inputs, _outward(inputs))
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True)  # memory without a value is filled with NaN
    try:
        assert torch.empty(3).isnan().all()
        got = _run(grouped_mix_fused, inputs, _outward(inputs))
    finally:
        torch.use_deterministic_algorithms(False)
    for one, other in zip(got, expected, strict=True):
        assert torch.equal(one, other)  # and the sums are taken in the same order each time


def test_fused_under_autocast_is_that_of_the_lower_dtype():
    inputs = _inputs(grid=(4, 5))
    lower = [inputs[0].bfloat16(), *inputs[1:]]
    with torch.autocast(DEVICE, torch.bfloat16):
        got = grouped_mix_fused(*inputs, True, 1e-5)
    assert got.dtype == torch.bfloat16
    assert torch.equal(got, grouped_mix_fused(*lower, True, 1e-5))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_fused_is_well_registered():
    y, grouped, scale, shift, mix = _inputs(grid=(3, 4), batch=2)
    arguments = [y.flatten(2), grouped.flatten(1), scale, shift, mix.flatten(1)]
    leaves = [value.detach().requires_grad_() for value in arguments]
    torch.library.opcheck(
        torch.ops.spanetv2.grouped_mix.default, (*leaves, True, 1e-5), rtol=1e-4, atol=1e-5
    )
    _, stat, moments = torch.ops.spanetv2.grouped_mix(*arguments, True, 1e-5)
    torch.library.opcheck(
        torch.ops.spanetv2.grouped_mix_backward.default,
        (_outward([y]), *arguments, stat, moments, True),
        rtol=1e-4,
        atol=1e-5,
    )


def test_fused_compiles_without_a_break():
    inputs = _inputs(grid=(6, 6))
    compiled = torch.compile(grouped_mix_fused, fullgraph=True, backend="aot_eager")
    got = _run(compiled, inputs, _outward(inputs))
    for one, other in zip(got, _run(grouped_mix_fused, inputs, _outward(inputs)), strict=True):
        torch.testing.assert_close(one, other)


def test_settings_are_those_of_the_table_or_measured(monkeypatch):
    assert (
        settings.setting("expansion", 49, 9).groups > settings.setting("expansion", 3136, 9).groups
    )
    best = settings.Setting(4, 128, 2)
    monkeypatch.setitem(settings.MEASURED, "expansion", {(9, 49): best})
    assert settings.setting("expansion", 49, 9) == best
    assert settings.setting("expansion", 49, 8) != best
    for kernel in settings.KERNELS:
        for tokens in (1, 49, 196, 784, 3136, 64000):
            tried = settings.candidates(kernel, tokens)
            assert settings.setting(kernel, tokens, 0) in tried
            assert all(n & (n - 1) == 0 for one in tried for n in one)
