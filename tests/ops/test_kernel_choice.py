"""When Triton kernels are taken: asked for, measured to be better, accepted by the card."""

import dataclasses
import warnings

import pytest
import torch

from spanetv2 import set_implementation
from spanetv2.mixers import SPAM
from spanetv2.ops import kernel_choice
from spanetv2.ops.kernel_choice import Measurement, is_accepted, measurements, use_kernels
from spanetv2.ops.local_mixing import use_fused

pytest.importorskip("triton", reason="Triton does not come with PyTorch here")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # there in Triton's interpreter
RECORD = Measurement(
    operator="local_mixing",
    card="a card",
    generation=9,
    torch="2.11",
    commit="abc",
    dtype="bfloat16",
    work="inference",
    side=56,
    speed=1.5,
    error=0.004,
    allowed=0.01,
)


def _maps(side=7, dtype=torch.float32):
    return torch.zeros(1, 4, side, side, dtype=dtype, device=DEVICE)


def test_kernels_run_where_they_are_asked_for():
    assert use_fused("fused", _maps())
    assert not any(use_fused(name, _maps()) for name in ("reference", "products"))
    assert not use_fused("fused", _maps(65))
    assert not use_fused("fused", _maps(dtype=torch.float64))


def test_float32_learns_by_kernels_on_small_grids_alone():
    assert use_fused("fused", _maps(32))
    assert not use_fused("fused", _maps(33))
    assert use_fused("fused", _maps(33, torch.bfloat16))
    with torch.no_grad():
        assert use_fused("fused", _maps(33))


def test_auto_wants_a_measurement(monkeypatch):
    taken = {record.operator for record in measurements() if record.better}
    assert kernel_choice.may_use_kernels("local_mixing", "auto") == ("local_mixing" in taken)
    monkeypatch.setattr(kernel_choice, "_BETTER", set())
    assert not use_kernels("local_mixing", "auto", _maps())
    assert use_kernels("local_mixing", "fused", _maps())


@pytest.mark.parametrize(
    ("change", "better"),
    [
        ({}, True),
        ({"speed": 0.99}, False),
        ({"error": 0.02}, False),
        ({"error": float("nan")}, False),
    ],
)
def test_better_is_right_and_faster(change, better):
    assert dataclasses.replace(RECORD, **change).better is better


def test_measurements_say_where_they_were_made():
    for record in measurements():
        assert record.card
        assert record.torch
        assert record.commit
        assert record.work in ("inference", "training")


def test_exported_graphs_have_no_kernels():
    mixer = set_implementation(SPAM(4, (5, 6)).eval(), "fused").to(DEVICE)
    x_BHWC = torch.randn(2, 5, 6, 4, device=DEVICE)
    with torch.no_grad():
        expected = mixer(x_BHWC)
        program = torch.export.export(mixer, (x_BHWC,), strict=False)
        assert "spanetv2" not in str(program.graph)
        torch.testing.assert_close(program.module()(x_BHWC), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.*")
def test_traces_have_no_kernels():
    mixer = set_implementation(SPAM(4, (5, 6)).eval(), "fused").to(DEVICE)
    with torch.no_grad():
        traced = torch.jit.trace(mixer, torch.randn(1, 5, 6, 4, device=DEVICE))
    assert "spanetv2::" not in str(traced.inlined_graph)


def test_a_fused_mixer_compiles_without_a_break():
    torch.manual_seed(0)
    mixer = set_implementation(SPAM(4, (6, 5)), "fused").to(DEVICE)
    x_BHWC = torch.randn(2, 6, 5, 4, device=DEVICE)
    compiled = torch.compile(mixer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x_BHWC), mixer(x_BHWC))
    inputs = list(mixer.parameters())
    got, expected = (
        torch.autograd.grad(run(x_BHWC).square().sum(), inputs) for run in (compiled, mixer)
    )
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
def test_trials_launch_every_kernel(training, monkeypatch):
    from spanetv2.ops.depthwise import operator as depthwise
    from spanetv2.ops.grouped_mix import operator as grouped_mix
    from spanetv2.ops.local_mixing import operator as local_mixing

    device = torch.device(DEVICE)
    trials = {
        local_mixing: lambda: local_mixing.try_launches(
            3, 5, torch.float32, device, training=training
        ),
        depthwise: lambda: depthwise.try_launches(3, 5, torch.float32, device, training=training),
        grouped_mix: lambda: grouped_mix.try_launches(4, torch.float32, device, training=training),
    }
    for operator, trial in trials.items():
        names = _launches(operator, trial, monkeypatch)
        assert names
        assert any("grad" in name or "backward" in name for name in names) is training


def _launches(operator, trial, monkeypatch):
    names, wrap = [], operator.wrap_triton

    def count(kernel):
        names.append(kernel.__name__)
        return wrap(kernel)

    with monkeypatch.context() as patched:
        patched.setattr(operator, "wrap_triton", count)
        trial()
    return names


def test_a_refusal_is_told_once(monkeypatch):
    monkeypatch.setattr(kernel_choice, "_ANSWERS", {})
    tried = []

    def trial():
        tried.append(1)
        raise RuntimeError("out of resources: shared memory\nRequired: 1")

    with pytest.warns(UserWarning, match=r"refuses the kernels of local_mixing, 7 x 7 \(out of re"):
        assert not is_accepted(trial, "local_mixing", "7 x 7")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not is_accepted(trial, "local_mixing", "7 x 7")
        assert is_accepted(lambda: None, "local_mixing", "8 x 8")
    assert tried == [1]
