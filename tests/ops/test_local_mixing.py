"""The operator's kernels against its definition in float64: values and every gradient.

Without a GPU the kernels run in Triton's interpreter (tests/conftest.py asks for it).
"""

import importlib.util

import pytest
import torch

from spanetv2.errors import UserError
from spanetv2.ops.kernel_operator import interpreted
from spanetv2.ops.local_mixing import can_fuse, local_mixing_reference, pack_kernels

if importlib.util.find_spec("triton") is None:
    pytest.skip("Triton does not come with PyTorch here", allow_module_level=True)

from spanetv2.ops.local_mixing import operator, settings
from spanetv2.ops.local_mixing.matrices import Sizes, constants, fold_gain, prepare, row_matrices
from spanetv2.ops.local_mixing.operator import local_mixing, local_mixing_prepared

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# The interpreter takes a second per map: every dtype on one grid, every grid in one dtype.
CASES = [(dtype, (7, 7), 8, 3) for dtype in DTYPES] + [
    (torch.float32, (15, 9), 8, 2),
    (torch.float32, (1, 1), 8, 2),
    (torch.float32, (2, 30), 4, 2),
    (torch.bfloat16, (14, 14), 4, 5),
    (torch.bfloat16, (28, 28), 4, 1),
    (torch.bfloat16, (56, 56), 4, 1),
    (torch.float16, (64, 17), 4, 1),
]
if DEVICE == "cuda":
    CASES += [(dtype, (n, n), 64, 5) for dtype in DTYPES for n in (7, 14, 15, 28, 56, 64)]


def _inputs(grid, dtype=torch.float32, channels=4, batch=2):
    generator = torch.Generator().manual_seed(sum(grid))
    heads = [
        torch.randn(channels // 4, 1, side, side, generator=generator) / side
        for side in (3, 5, 7, 9)
    ]
    x = torch.randn(batch, channels, *grid, generator=generator) + 0.5
    others = [
        pack_kernels(heads),
        torch.randn(channels, generator=generator),
        torch.rand(channels, grid[0], grid[1] // 2 + 1, generator=generator),
    ]
    return [x.to(DEVICE, dtype), *(value.to(DEVICE) for value in others)]


def _used(channels):
    """Taps that are parameters: those inside a head's kernel."""
    reach = 1 + torch.arange(channels) // (channels // 4)
    distance = (torch.arange(9) - 4).abs()
    farthest = torch.maximum(distance[:, None], distance[None, :])
    return (farthest <= reach[:, None, None]).to(DEVICE)


def _run(function, inputs, outward):
    """The output and the gradient of every input."""
    leaves = [value.detach().clone().requires_grad_() for value in inputs]
    out = function(*leaves)
    gradients = list(torch.autograd.grad(out, leaves, outward.to(out.dtype)))
    gradients[1] = gradients[1] * _used(inputs[0].shape[1])
    return [out.detach(), *gradients]


def _outward(x):
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(5)).to(DEVICE, x.dtype)


def _errors(got, expected):
    return [
        float((one.double() - other.double()).norm() / other.double().norm())
        for one, other in zip(got, expected, strict=True)
    ]


class _Rounded(torch.autograd.Function):
    """To a dtype and back to float64, forwards and backwards."""

    @staticmethod
    def forward(ctx, value, dtype):
        ctx.dtype = dtype
        return _rounded(value, dtype)

    @staticmethod
    def backward(ctx, grad):
        return _rounded(grad, ctx.dtype), None


def _rounded(value, dtype):
    if dtype == torch.bfloat16 and interpreted():  # the interpreter cuts the digits off
        return (value.float().view(torch.int32) & ~0xFFFF).view(torch.float32).double()
    return value.to(dtype).double()


def _with_rounded_operands(dtype):
    """The operator as its text says, in float64, the operands of every product rounded."""

    def rounded(value):
        return _Rounded.apply(value, dtype)

    def function(x, taps, bias, gain):
        height, width = x.shape[2:]
        size, half = Sizes.of(height, width), width // 2 + 1
        known = constants(height, width, dtype, x.device)
        shifts, fold, row_waves, column_waves = (value.double() for value in known)
        rows = rounded(row_matrices(taps, shifts, torch.float64)).unflatten(2, (-1, size.K))
        there, back = row_waves[:4].split(2)
        there = there.view(2, size.P, size.H)[..., :height]
        back = back.view(2, size.H, size.P)[:, :height]
        even, odd = fold_gain(gain.double(), fold.float()).double().chunk(2, 1)
        around = torch.nn.functional.pad(x, (0, size.W - width, 4, 4))
        moved = torch.stack([around[:, :, dy : dy + height] for dy in range(9)])
        z = rounded(torch.einsum("ybchw,cywk->bchk", moved, rows))[..., : 2 * half]
        z = z.unflatten(3, (half, 2))
        cos, sin = (torch.einsum("ph,bchqk->bcpqk", wave, z) for wave in there)
        (cc, cs), (sc, ss) = cos.unbind(-1), sin.unbind(-1)
        cos = torch.stack([even * cc - odd * ss, even * cs + odd * sc], -1)
        sin = torch.stack([even * sc + odd * cs, even * ss - odd * cc], -1)
        parts = torch.stack([rounded(cos), rounded(sin)])
        z = rounded(torch.einsum("thp,tbcpqk->bchqk", back, parts)).flatten(3)
        columns = column_waves[0].view(size.K, size.W)[: 2 * half, :width]
        y = z @ columns + (bias * gain[:, 0, 0])[:, None, None]
        return rounded(y)

    return function


def _allowed(inputs, outward, expected):
    """Twice the errors that come of rounding the operands, and some of float32's."""
    exact = [value.double() for value in inputs]
    function = _with_rounded_operands(inputs[0].dtype)
    errors = _errors(_run(function, exact, outward), expected)
    return [2 * error + 20 * torch.finfo(torch.float32).eps for error in errors]


@pytest.mark.parametrize(("dtype", "grid", "channels", "batch"), CASES, ids=str)
def test_the_operator_is_the_definition(dtype, grid, channels, batch):
    inputs = _inputs(grid, dtype, channels, batch)
    outward = _outward(inputs[0])
    expected = _run(local_mixing_reference, [value.double() for value in inputs], outward)
    got = _run(local_mixing, inputs, outward)
    assert [value.dtype for value in got] == [dtype, dtype, *[torch.float32] * 3]
    allowed = _allowed(inputs, outward, expected)
    assert max(allowed) < 0.03
    for error, most in zip(_errors(got, expected), allowed, strict=True):
        assert error < most


def test_a_wrong_operator_would_be_seen():
    """The largest error allowed is far below that of a filter upside down or of no output."""
    inputs = [value.double() for value in _inputs((7, 7))]
    expected = local_mixing_reference(*inputs)
    turned = local_mixing_reference(*inputs[:3], inputs[3].flip(1))
    assert min(_errors([turned, torch.zeros_like(expected)], [expected] * 2)) > 0.06


@pytest.fixture
def filled(monkeypatch):
    """New memory is full of NaN."""
    empty, like = torch.empty, torch.empty_like

    def unset(make):
        return lambda *args, **options: make(*args, **options).fill_(float("nan"))

    monkeypatch.setattr(operator.torch, "empty", unset(empty))
    monkeypatch.setattr(operator.torch, "empty_like", unset(like))


def test_every_value_is_written(filled):
    inputs = _inputs((5, 9), torch.float16, channels=8, batch=3)
    for value in _run(local_mixing, inputs, _outward(inputs[0])):
        assert value.isfinite().all()


def test_any_memory_layout_gives_the_same():
    inputs = _inputs((5, 7))
    outward = _outward(inputs[0])
    expected = _run(local_mixing, inputs, outward)
    by_channel = inputs[0].transpose(0, 1).contiguous().transpose(0, 1)
    last = inputs[0].contiguous(memory_format=torch.channels_last)
    wide = torch.full((2, 4, 5, 14), float("nan"), device=DEVICE)
    wide[..., ::2] = inputs[0]
    for x in (by_channel, last, wide[..., ::2]):
        leaves = [value.requires_grad_() for value in (x.detach(), *inputs[1:])]
        out = local_mixing(*leaves)
        got = [out, *torch.autograd.grad(out, leaves, outward.mT.contiguous().mT)]
        got[2] = got[2] * _used(4)
        for one, other in zip(got, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert local_mixing(by_channel, *inputs[1:]).stride() == by_channel.stride()


def test_no_images_give_no_maps():
    x, *others = _inputs((4, 6))
    out, *gradients = _run(local_mixing, [x[:0], *others], _outward(x[:0]))
    assert out.shape == (0, 4, 4, 6)
    assert all(not value.any() for value in gradients)


def test_prepared_parameters_give_the_same():
    x, *others = _inputs((6, 5))
    with torch.no_grad():
        made = prepare(*others, (6, 5), x.dtype)
        assert torch.equal(local_mixing_prepared(x, made), local_mixing(x, *others))


def test_taps_beyond_a_kernel_have_no_gradient():
    x, taps, *others = _inputs((6, 5))
    taps.requires_grad_()
    (grad,) = torch.autograd.grad(local_mixing(x, taps, *others).square().sum(), taps)
    assert torch.equal(grad != 0, _used(4))


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_the_operators_are_well_registered():
    x, *others = _inputs((3, 4), batch=1)
    known = constants(3, 4, x.dtype, x.device)
    leaves = [value.requires_grad_() for value in (x, *others)]
    operators = torch.ops.spanetv2
    torch.library.opcheck(operators.local_mixing.default, (*leaves, *known), rtol=1e-4, atol=1e-5)
    plain = [value.detach() for value in leaves]
    operator_backward = operators.local_mixing_backward.default
    torch.library.opcheck(operator_backward, (plain[0], *plain, *known), rtol=1e-4, atol=1e-5)
    made = prepare(*plain[1:], (3, 4), x.dtype)
    torch.library.opcheck(operators.local_mixing_prepared.default, (plain[0], *made))


def test_the_operator_compiles_without_a_break():
    def twice(x, taps, bias, gain, other):
        return local_mixing(local_mixing(x, taps, bias, gain).mT, taps, bias, other)

    inputs = [*_inputs((6, 5)), _inputs((5, 6))[3]]
    compiled = torch.compile(twice, fullgraph=True, backend="aot_eager")
    leaves = [value.requires_grad_() for value in inputs]
    got, expected = compiled(*leaves), twice(*leaves)
    torch.testing.assert_close(got, expected)
    outward = _outward(got)
    for one, other in zip(
        torch.autograd.grad(got, leaves, outward),
        torch.autograd.grad(expected, leaves, outward),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_operator_refuses_what_it_cannot_run():
    x, kernels, bias, gain = _inputs((5, 6))
    with pytest.raises(UserError, match="1 to 64 a side"):
        local_mixing(torch.zeros(1, 4, 65, 8), kernels, bias, gain)
    with pytest.raises(UserError, match="multiple of 4"):
        local_mixing(x[:, :3], kernels, bias, gain)
    with pytest.raises(UserError, match=r"gain of shape \(4, 4, 4\), expected \(4, 5, 4\)"):
        local_mixing(x, kernels, bias, gain[:, :4])
    assert can_fuse(torch.zeros(1, 4, 64, 64, device=DEVICE))
    assert not can_fuse(torch.zeros(1, 4, 65, 8, device=DEVICE))
    assert not can_fuse(torch.zeros(1, 4, 8, 8, device=DEVICE, dtype=torch.float64))


@pytest.mark.parametrize("length", [1, 2, 7, 50])
def test_row_matrices_convolve_and_transform(length):
    known = constants(1, length, torch.float32, torch.device("cpu"))
    taps = torch.randn(1, 9, 9, generator=torch.Generator().manual_seed(0))
    rows = row_matrices(taps, known.shifts, torch.float32)
    x = torch.randn(length, generator=torch.Generator().manual_seed(1))
    size = Sizes.of(1, length)
    got = torch.nn.functional.pad(x, (0, size.W - length)) @ rows[0, 2].view(size.W, size.K)
    half = length // 2 + 1
    cos, sin = got[: 2 * half].view(half, 2).unbind(1)
    convolved = torch.nn.functional.conv1d(x[None], taps[:, 2:3], padding=4)[0]
    expected = torch.fft.rfft(convolved, norm="ortho")
    torch.testing.assert_close(torch.complex(cos, -sin), expected, rtol=1e-4, atol=1e-5)
    assert not got[2 * half :].any()


def test_settings_are_powers_of_two_for_every_tile():
    for kernel in settings.KERNELS:
        for tile in (16, 32, 64):
            for width in (2, 4):
                usual = settings.setting(kernel, tile, width, 9)
                tried = settings.candidates(kernel, tile, width)
                assert usual in tried
                for one in (usual, *tried):
                    assert all(value & (value - 1) == 0 for value in one[:3])
                    assert 16 <= one.columns <= max(16, tile)


def test_packed_kernels_are_the_depthwise_convolutions():
    x, kernels, bias, _ = _inputs((8, 9), channels=8)
    ones = torch.ones(8, 8, 5, device=DEVICE)
    got = local_mixing_reference(x, kernels, bias, ones)
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
