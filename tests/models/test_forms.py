"""A network in the form of maps is the network: values, gradients, and all that is asked of it."""

import copy
from typing import Any

import pytest
import torch

from spanetv2 import UserError, create_model, optimize_for_inference, set_form, set_implementation
from spanetv2.models.block import Block
from spanetv2.models.variants import VARIANTS

OPTIONS: dict[str, dict[str, Any]] = {
    "pico_pure": {},
    "pico_hybrid": {},
    "concatenated": {"head_order": "concatenated", "gate": "scaled_sigmoid"},
    "studies": {
        "mixers": [
            {"name": "spam", "spectral": False},
            {"name": "spam", "modulation": False},
            "sepconv",
            "identity",
        ]
    },
}
SMALL: dict[str, Any] = {"num_classes": 5, "img_size": 64, "depths": (1, 1, 2, 1)}


def _network(kind: str, **more: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    name = kind if kind.startswith("pico") else "pico_pure"
    return create_model(name, **SMALL, **OPTIONS.get(kind, {}), **more)


def _images() -> torch.Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def _gradients(
    model: torch.nn.Module, x: torch.Tensor | None = None, call: Any = None
) -> list[torch.Tensor]:
    out = (model if call is None else call)(_images() if x is None else x)
    loss = (out * torch.arange(1.0, 1 + out.shape[-1])).sum()
    return [out.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


def _assert_close(got: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    assert float((got[0] - expected[0]).norm()) <= 3e-6 * float(expected[0].norm())
    for one, other in zip(got[1:], expected[1:], strict=True):
        assert float((one - other).norm()) <= 3e-4 * float(other.norm())


@pytest.mark.parametrize("kind", OPTIONS)
def test_maps_are_the_reference(kind):
    model = _network(kind)
    expected = _gradients(set_form(set_implementation(model, "reference"), "tokens"))
    set_implementation(model, "auto")
    _assert_close(_gradients(set_form(model, "maps")), expected)
    _assert_close(_gradients(set_form(model, "tokens")), expected)


@pytest.mark.parametrize("order", ["interleaved", "concatenated"])
@pytest.mark.parametrize("mixer", ["spam", "mixed_attention"])
def test_compiled_block_of_maps_is_the_reference(mixer, order):
    torch.manual_seed(0)
    block = Block(32, (6, 5), mixer=mixer, head_order=order, gate="sigmoid", residual_scale=True)
    x_BHWC = torch.randn(2, 6, 5, 32)
    set_form(block, "tokens")
    expected = _gradients(block, x_BHWC)
    set_form(block, "maps")
    call = torch.compile(block, fullgraph=True, backend="aot_eager")
    _assert_close(_gradients(block, x_BHWC, call), expected)


def test_inference_overwrites_nothing_that_others_hold():
    model = set_form(_network("pico_pure"), "maps").eval()
    held: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for name, module in model.named_modules():
        module.register_forward_hook(
            lambda _m, _i, out, name=name: held.setdefault(name, (out, out.clone())) and None
        )
    images = _images()
    before = images.clone()
    with torch.no_grad():
        hooked = model(images)
        plain = set_form(_network("pico_pure"), "maps").eval()(images)
    assert torch.equal(images, before)
    assert len(held) > 40
    assert all(torch.equal(out, copied) for out, copied in held.values())
    torch.testing.assert_close(hooked, plain)


@pytest.mark.parametrize("kind", ["pico_pure", "pico_hybrid"])
def test_folded_network_has_both_forms(kind):
    model = _network(kind).eval()
    with torch.no_grad():
        expected = set_form(set_implementation(model, "reference"), "tokens")(_images())
        for form in ("tokens", "maps"):
            fast = optimize_for_inference(set_form(set_implementation(model, "auto"), form))
            assert float((fast(_images()) - expected).norm()) < 1e-5 * float(expected.norm())


def test_checkpointing_features_and_scripts_work_with_maps():
    plain, model = _network("pico_hybrid"), set_form(_network("pico_hybrid"), "maps")
    model.set_grad_checkpointing()
    _assert_close(_gradients(model), _gradients(set_form(plain, "tokens")))
    with torch.no_grad():
        maps = [net.eval().forward_intermediates(_images())[1] for net in (model, plain)]
        for got, expected in zip(*maps, strict=True):
            assert got.shape == expected.shape
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
        with pytest.warns(FutureWarning):
            scripted = torch.jit.script(model)
        torch.testing.assert_close(scripted(_images()), plain(_images()), rtol=1e-4, atol=1e-4)


def test_exported_graphs_have_no_form():
    model = _network("pico_hybrid").eval()
    programs = []
    for form in ("auto", "tokens"):
        program = torch.export.export(set_form(model, form), (_images(),))
        programs.append([str(node.target) for node in program.graph.nodes])
    assert programs[0] == programs[1]
    assert any("linear" in target for target in programs[0])


@pytest.mark.parametrize("name", VARIANTS)
def test_set_form_reaches_every_variant(name):
    with torch.device("meta"):
        model = create_model(name)
    set_form(model, "maps")
    blocks = [module for module in model.modules() if hasattr(module, "form")]
    assert len(blocks) > 3 * sum(VARIANTS[name].depths)
    assert {module.form for module in blocks} == {"maps"}
    assert {module.form for module in copy.deepcopy(model).modules() if hasattr(module, "form")}


def test_set_form_changes_no_state_and_refuses_what_it_does_not_know():
    model = _network("pico_pure")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    set_form(model, "maps")
    assert list(before) == list(model.state_dict())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with pytest.raises(UserError, match="got form='nchw', expected one of 'auto', 'tokens'"):
        set_form(model, "nchw")
    with pytest.raises(UserError, match="without blocks"):
        set_form(torch.nn.Linear(2, 2), "maps")
