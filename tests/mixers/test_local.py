"""SPAM's token mixing: one module that SPAM calls, with the parameters where files expect them."""

import pytest
import torch

from spanetv2.deploy.fold import DenseLocal, with_constant_filter
from spanetv2.mixers import SPAM, LocalMixing
from spanetv2.ops.heads import KERNELS
from spanetv2.ops.local_mixing import local_mixing_reference, pack_kernels

PARTS = [f"local_convs.{head}.{leaf}" for head in range(4) for leaf in ("weight", "bias")]


def _relative_rms(got: torch.Tensor, expected: torch.Tensor) -> float:
    got, expected = got.detach().double(), expected.detach().double()
    return float((got - expected).norm() / expected.norm())


@pytest.mark.parametrize("grid", [(7, 7), (14, 15), (6, 9)])
@pytest.mark.parametrize("gate", ["sigmoid", "scaled_sigmoid"])
def test_local_mixing_is_the_operator(grid: tuple[int, int], gate: str) -> None:
    torch.manual_seed(0)
    mixer = LocalMixing(8, grid, gate=gate)
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x_BHWC = torch.randn(2, *grid, 16)[..., ::2].requires_grad_()  # not contiguous
    y_BHWC = mixer(x_BHWC)
    kernels = pack_kernels([conv.weight for conv in mixer.local_convs])
    bias = torch.cat([conv.bias for conv in mixer.local_convs])
    gain = mixer.spectral_filter.gain(*grid)
    expected = local_mixing_reference(x_BHWC.permute(0, 3, 1, 2), kernels, bias, gain)
    expected = expected.permute(0, 2, 3, 1)
    assert y_BHWC.shape == x_BHWC.shape
    assert _relative_rms(y_BHWC, expected) < 1e-5
    outward = torch.randn_like(expected)
    inputs = [x_BHWC, *mixer.parameters()]
    got = torch.autograd.grad(y_BHWC, inputs, outward)
    for one, other in zip(got, torch.autograd.grad(expected, inputs, outward), strict=True):
        assert _relative_rms(one, other) < 1e-4


def test_spam_mixes_with_its_own_parts() -> None:
    torch.manual_seed(0)
    mixer = SPAM(16, (8, 8), gate="scaled_sigmoid").eval()
    alone = LocalMixing.of(mixer)
    assert list(alone.state_dict()) == [*PARTS, "spectral.theta", "spectral.alpha"]
    assert all(alone.get_parameter(name) is mixer.get_parameter(name) for name in PARTS)
    x_BHWC = torch.randn(2, 8, 8, 16)
    with torch.no_grad():
        mixed = mixer.mix_tokens(x_BHWC.permute(0, 3, 1, 2))
        assert mixed.std() > 0.01
        assert torch.equal(alone(x_BHWC), mixed.permute(0, 2, 3, 1))
    assert (alone.grid, alone.gate, alone.kernels) == ((8, 8), "scaled_sigmoid", list(KERNELS))


def test_spam_keeps_the_names_and_the_order_of_its_parameters() -> None:
    mixer = SPAM(16, (8, 8), gate="scaled_sigmoid")
    assert [name for name, _ in mixer.named_parameters()] == [
        "query.weight",
        "context.weight",
        *PARTS,
        "spectral.theta",
        "spectral.alpha",
        "proj.grouped_interleaved.weight",
        "proj.norm.weight",
        "proj.norm.bias",
        "proj.mix.weight",
        "out.weight",
    ]


def test_spam_calls_it(monkeypatch) -> None:
    mixer = SPAM(16, (8, 8)).eval()
    x_BHWC = torch.randn(1, 8, 8, 16)
    with torch.no_grad():
        before = mixer(x_BHWC)
        monkeypatch.setattr(LocalMixing, "mix_tokens", lambda self, x_BCHW: -x_BCHW)
        assert not torch.allclose(mixer(x_BHWC), before)


@pytest.mark.parametrize("folded", [DenseLocal, with_constant_filter])
def test_folded_forms_mix_alike(folded) -> None:
    torch.manual_seed(0)
    mixer = SPAM(16, (6, 8), gate="scaled_sigmoid").eval()
    mixer.spectral_filter.theta.data.normal_(std=2.0)
    x_BCHW = torch.randn(2, 16, 6, 8)
    with torch.no_grad():
        expected = mixer.mix_tokens(x_BCHW)
        assert _relative_rms(folded(mixer).mix_tokens(x_BCHW), expected) < 1e-5
        mixer.spectral_filter.theta.zero_()
        assert _relative_rms(mixer.mix_tokens(x_BCHW), expected) > 1e-2


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_local_mixing_can_be_scripted() -> None:
    mixer = LocalMixing(8, (6, 6)).eval()
    x = torch.randn(1, 6, 6, 8)
    torch.testing.assert_close(torch.jit.script(mixer)(x), mixer(x))


def test_grids_beyond_one_program_are_mixed_in_two(monkeypatch) -> None:
    pytest.importorskip("triton")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    mixer = LocalMixing(4, (66, 6)).to(device)
    called = []
    in_two = LocalMixing._mix_tokens_in_two
    monkeypatch.setattr(
        LocalMixing, "_mix_tokens_in_two", lambda *args: called.append(1) or in_two(*args)
    )
    outcomes = []
    x_BHWC = torch.randn(1, 66, 6, 4, device=device)
    for implementation in ("reference", "fused"):
        mixer.spectral.implementation = implementation
        leaf = x_BHWC.clone().requires_grad_()
        y_BHWC = mixer(leaf)
        gradients = torch.autograd.grad(y_BHWC.square().sum(), [leaf, *mixer.parameters()])
        outcomes.append([y_BHWC, *gradients])
    assert called == [1]
    for expected, got in zip(*outcomes, strict=True):
        assert _relative_rms(got, expected) < 1e-5
