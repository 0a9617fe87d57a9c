"""Every mixer of the table, in a block, in a network, and back from a file."""

import pytest
import torch

from spanetv2 import create_model, load_model, optimize_for_inference, save_weights
from spanetv2.analysis.mixers import find_mixers, record_calls
from spanetv2.errors import UserError
from spanetv2.mixers import SPAM, Attention
from spanetv2.mixers.table import MIXERS, SHORT_NAMES
from spanetv2.models.block import Block
from spanetv2.models.weights.describe import describe

DIMS = [16, 16, 32, 32]
NAMES = [*MIXERS, *SHORT_NAMES]


def _options(name: str) -> dict[str, object]:
    dims = [32, 32, 32, 64] if name in ("attention", "mixed_attention") else DIMS
    return {"depths": [1, 1, 1, 1], "dims": dims, "mixers": [name] * 4, "num_classes": 3}


def _model(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return create_model("pico_pure", in_chans=1, img_size=28, stem_stride=2, **_options(name))


@pytest.mark.parametrize("name", NAMES)
def test_reaches_its_neighbours_and_learns(name: str) -> None:
    torch.manual_seed(0)
    block = Block(
        32, (9, 9), mixer=name, head_order="interleaved", gate="sigmoid", residual_scale=False
    )
    x = torch.randn(1, 9, 9, 32, requires_grad=True)
    y = block(x)
    assert y.shape == x.shape
    y.square().sum().backward()
    idle = [key for key, value in block.named_parameters() if value.grad is None]
    assert not idle
    (grad,) = torch.autograd.grad(block(x)[0, 4, 4].sum(), x)
    reached = grad[0].abs().sum(-1) > 1e-9
    side = {"identity": 1, "pooling": 3, "sepconv": 7}.get(name, 9)
    assert int(reached.sum()) == side * side  # SPAM's group norm sees the whole grid


@pytest.mark.parametrize(
    ("options", "reach"),
    [({"kernels": (3, 3, 3, 3), "spectral": False}, 3), ({"spectral": False}, 9)],
)
def test_local_mixing_reaches_as_far_as_its_kernels(options: dict, reach: int) -> None:
    mixer = SPAM(16, (13, 13), **options)
    x = torch.zeros(1, 16, 13, 13)
    x[..., 6, 6] = 1
    bias = torch.cat([conv.bias for conv in mixer.local_convs])
    changed = (mixer.mix_tokens(x) - bias[:, None, None])[0].abs().amax(0) > 1e-9
    assert int(changed.sum()) == reach * reach


def test_parts_that_are_left_out() -> None:
    torch.manual_seed(0)
    whole = SPAM(16, (7, 7)).eval()
    x = torch.randn(2, 7, 7, 16)
    without = SPAM(16, (7, 7), spectral=False).eval()
    without.load_state_dict(whole.state_dict(), strict=False)
    difference = without(x) - whole(x)
    with torch.no_grad():
        whole.spectral.theta.fill_(40.0)  # a gain of 1
    torch.testing.assert_close(without(x), whole(x), rtol=1e-4, atol=1e-5)
    assert difference.abs().max() > 1e-3
    plain = SPAM(16, (7, 7), modulation=False).eval()
    plain.load_state_dict(
        {k: v for k, v in whole.state_dict().items() if not k.startswith("query.")}
    )
    modulator = whole._project(whole.mix_tokens(whole.context(x).permute(0, 3, 1, 2)))
    torch.testing.assert_close(plain(x), whole.out(modulator.permute(0, 2, 3, 1)))


def test_refuses_other_options() -> None:
    with pytest.raises(UserError, match="expected 4 odd numbers, one per head"):
        SPAM(16, (7, 7), kernels=(3, 5, 7))
    with pytest.raises(UserError, match="expected 4 odd numbers, one per head"):
        SPAM(16, (7, 7), kernels=(3, 5, 7, 8))
    with pytest.raises(UserError, match="expected a multiple of 16"):
        Attention(24, head_width=16)
    with pytest.raises(UserError, match="got mixers"):
        _model("mlp")


@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
@pytest.mark.parametrize("name", NAMES)
def test_goes_through_a_file(name: str, tmp_path) -> None:
    model = _model(name).eval()
    save_weights(model, tmp_path / "weights.safetensors", classes=["a", "b", "c"])
    again, checkpoint = load_model(tmp_path / "weights.safetensors")
    assert checkpoint.model_kwargs.get("mixers", ["spam"] * 4) == [name] * 4
    shown = {"pooling": "identity"}.get(name, name.removesuffix("_16"))
    assert describe(model.state_dict()).mixers == (shown,) * 4
    x = torch.randn(2, 1, 28, 28)
    with torch.no_grad():
        expected = model(x)
        assert torch.equal(again(x), expected)
        fast = optimize_for_inference(model, 28)
        torch.testing.assert_close(fast(x), expected, rtol=1e-3, atol=1e-4)
        assert torch.jit.script(model)(x).allclose(expected, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "identity"])
def test_analysis_calls_it_on_its_grid(name: str) -> None:
    model = _model(name).eval()
    calls, gaps = record_calls(model, find_mixers(model), torch.randn(2, 1, 28, 28))
    assert not gaps
    assert [call.grid for call in calls] == [(14, 14), (7, 7), (4, 4), (2, 2)]
    dims = _options(name)["dims"]
    assert [call.x.shape[1] for call in calls] == dims
    kinds = {"sepconv": "convolution", "pooling": "pooling", "dynamic_filter": "fourier"}
    family = "attention" if "attention" in name else "spam"
    assert {call.mixer.kind for call in calls} == {kinds.get(name, family)}


def test_a_published_network_records_no_architecture(tmp_path) -> None:
    model = create_model("pico_hybrid", num_classes=3, img_size=32)
    save_weights(model, tmp_path / "weights.safetensors")
    _, checkpoint = load_model(tmp_path / "weights.safetensors")
    assert not {"depths", "dims", "mixers"} & set(checkpoint.model_kwargs)
