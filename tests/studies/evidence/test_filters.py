"""The filter's variants, and the figures of its gates."""

import pytest
import torch
from tiny_scale import SKELETON

from spanetv2.errors import UserError
from spanetv2.mixers import SPAM, SpectralRescale
from studies.evidence.filters import EDITS, flattened, gate_rows, signal_rows
from studies.evidence.images import load
from studies.evidence.part import Context
from studies.evidence.recipe import Recipe
from studies.evidence.scale import SCALES
from studies.evidence.shipped import flatten_shipped
from studies.evidence.stack import Stack
from studies.evidence.train import train

CONTEXT = Context(scale=SCALES["small"])


def _network(edit: str | None = None, row: str = "spam") -> torch.nn.Module:
    torch.manual_seed(0)
    return CONTEXT.network(row, SKELETON, None if edit is None else EDITS[edit])()


def _first(network: torch.nn.Module) -> SpectralRescale:
    return next(m for m in network.modules() if isinstance(m, SpectralRescale))


@pytest.mark.parametrize(
    ("edit", "constant", "highest"),
    [
        ("low-pass start", 0.881, 0.119),
        ("high-pass start", 0.119, 0.881),
        ("identity start", 0.982, 0.982),
        ("frozen at 0.5", 0.5, 0.5),
    ],
)
def test_gates_start_where_they_are_said_to(edit: str, constant: float, highest: float) -> None:
    gain = _first(_network(edit)).gain(8, 8).detach().mean(0)
    assert float(gain[0, 0]) == pytest.approx(constant, abs=0.01)
    assert float(gain[4, 4]) == pytest.approx(highest, abs=0.01)


def test_the_norm_goes_or_moves() -> None:
    x = torch.randn(2, 8, 8, 16, generator=torch.Generator().manual_seed(1))
    outputs = []
    for edit in (None, "no norm behind", "norm in front"):
        mixer = next(m for m in _network(edit).modules() if isinstance(m, SPAM))
        with torch.no_grad():
            outputs.append((mixer(x), mixer(3 * x)))
            maps = mixer._context_maps(x)
            local = torch.cat(
                [
                    conv(part)
                    for conv, part in zip(mixer.local_convs, maps.chunk(4, 1), strict=True)
                ],
                1,
            )
            if edit == "norm in front":
                local = torch.nn.functional.group_norm(local, 1)
            y = _first(mixer)(local)
            y = mixer.proj[0](torch.nn.functional.channel_shuffle(y, 4))
            if edit is None:
                y = torch.nn.functional.group_norm(y, 1)
            y = mixer.proj.mix(torch.nn.functional.gelu(y)).permute(0, 2, 3, 1)
            expected = mixer.out(
                torch.nn.functional.gelu(torch.nn.functional.linear(x, mixer.query.weight)) * y
            )
        torch.testing.assert_close(outputs[-1][0], expected, rtol=1e-3, atol=1e-5)
    assert not torch.allclose(outputs[0][0], outputs[1][0], atol=1e-4)


def test_flattened_gates_are_their_channels_means() -> None:
    network = _network("low-pass start", "spam_scaled_sigmoid")
    before = _first(network).gain(8, 8)
    flattened(network)
    after = _first(network).gain(8, 8)
    assert before.std((1, 2)).min() > 0.1
    torch.testing.assert_close(after, before.mean((1, 2), keepdim=True).expand_as(after))


def test_gate_figures_are_those_of_the_weights() -> None:
    stack = Stack(CONTEXT.network("spam", SKELETON, EDITS["high-pass start"]), (0, 1))
    rows = gate_rows(stack, 7)
    assert {(row["stage"], row["head"]) for row in rows} == {
        (stage, head) for stage in (1, 2, 3) for head in (1, 2, 3, 4)
    }  # the last stage has one token
    gate = torch.sigmoid(stack.weights["stages.0.blocks.0.token_mixer.spectral.theta"][1, 4:8])
    row = next(r for r in rows if (r["seed"], r["stage"], r["head"]) == (1, 1, 2))
    assert row["update"] == 7
    assert row["mean"] == pytest.approx(float(gate.detach().mean()))
    assert row["spread"] == pytest.approx(float(gate.detach().std()))
    assert 5 < row["contrast"] < 17  # high-pass


def test_steadiness_tells_noise_from_a_gradient_that_stays() -> None:
    stack = Stack(CONTEXT.network("spam", SKELETON), (0,))
    seen = []

    def watch(update, optimizers) -> None:
        seen.append(signal_rows(stack, optimizers, update))

    train(stack, load("digits"), Recipe(updates=8, batch=8), watch=watch, every=1)
    assert seen[0] == []
    first = {row["weights"]: row["steadiness"] for row in seen[1]}
    assert first["filter"] > 0.9  # a single gradient is its own mean, but where it is 0
    last = {row["weights"]: row["steadiness"] for row in seen[-1]}
    assert 0.1 < last["filter"] < 0.8
    assert 0.1 < last["other"] < 0.8


def test_flattening_the_shipped_weights_counts_what_changes() -> None:
    try:
        load("fashion_mnist")
    except UserError:
        pytest.skip("Fashion-MNIST is not on this machine")
    found = flatten_shipped(images=300)
    assert found.images == 300
    assert found.right > 270
    assert found.right - found.lost + found.gained == found.flat_right
    assert 0.02 < found.spread < 0.05
    assert 0.3 < found.lowest < 0.5 < found.highest < 0.7
    assert 0 < found.p_value <= 1
