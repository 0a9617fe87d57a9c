import math

import pytest
import torch

from spanetv2.benchmark.operators import (
    OPERATORS,
    FusedLocalMixing,
    cost_of,
    make_operator,
    operator_step,
    stage_shapes,
)
from spanetv2.benchmark.rates import Rates, measure_rates
from spanetv2.benchmark.settings import Cell
from spanetv2.errors import UserError
from spanetv2.models import VARIANTS, create_model
from spanetv2.ops.local_mixing import local_mixing_reference


@pytest.mark.parametrize("size", [224, 250])
def test_stage_shapes_are_those_of_the_network(size):
    model = create_model("pico_pure", img_size=size)
    expected = [(b.token_mixer.query.in_features, b.token_mixer.grid[0]) for b in first(model)]
    assert stage_shapes("spanetv2_pico_pure", size) == expected
    assert [channels for channels, _ in expected] == list(VARIANTS["spanetv2_pico_pure"].dims)


def first(model):
    return [stage.blocks[0] for stage in model.stages]


def test_stage_shapes_refuse_other_networks():
    with pytest.raises(UserError, match="got variant 'resnet18'"):
        stage_shapes("resnet18", 224)


def test_make_operator_refuses_unknown_names():
    with pytest.raises(UserError, match="got operator 'pool', expected one of spam, "):
        make_operator("pool", 32, 8)


def relative_error(got, expected):
    return (got - expected).square().mean().sqrt() / expected.square().mean().sqrt()


def test_implementations_of_an_operator_agree():
    torch.manual_seed(1)
    x_BHWC = torch.randn(2, 7, 7, 32)
    for kind in ("spam", "local"):
        (fast, last), (slow, slow_last) = (
            make_operator(name, 32, 7) for name in (kind, f"{kind}@reference")
        )
        assert last
        expected = slow(x_BHWC) if slow_last else slow(x_BHWC.permute(0, 3, 1, 2))
        got = fast(x_BHWC) if slow_last else fast(x_BHWC).permute(0, 3, 1, 2)
        assert expected.std() > 1e-4
        assert relative_error(got, expected) < 1e-5


def test_local_mixing_has_the_same_gradients_in_one_function():
    fast, _ = make_operator("local", 32, 7)
    slow, _ = make_operator("local@reference", 32, 7)
    assert isinstance(slow, FusedLocalMixing)
    assert slow.function is local_mixing_reference
    fast(torch.ones(1, 7, 7, 32)).square().sum().backward()
    slow(torch.ones(1, 32, 7, 7)).square().sum().backward()
    assert slow.theta.grad.abs().sum() > 0
    assert relative_error(slow.theta.grad, fast.spectral.theta.grad) < 1e-4


def test_make_operator_leaves_large_grids_to_others():
    with pytest.raises(UserError, match="got 65 tokens a side, expected at most 64 for spam@fused"):
        make_operator("spam@fused", 32, 65)


def test_cost_of_attention_is_its_textbook_cost():
    tokens, channels = 49, 64
    cost = cost_of("attention", channels, 7, batch=3, dtype="float32", work="inference")
    assert cost.multiply_adds == 3 * (4 * tokens * channels**2 + 2 * tokens**2 * channels)
    assert cost.bytes == 4 * (2 * 3 * tokens * channels + 4 * channels**2)


def test_cost_of_separable_convolution_is_its_textbook_cost():
    tokens, channels = 49, 64
    cost = cost_of("sepconv", channels, 7, batch=2, dtype="bfloat16", work="inference")
    assert cost.multiply_adds == 2 * tokens * (4 * channels**2 + 2 * channels * 49)


def test_cost_of_local_mixing_counts_taps_and_transforms():
    tokens, channels = 64, 32
    cost = cost_of("local@fused", channels, 8, batch=1, dtype="float32", work="inference")
    taps = channels // 4 * (9 + 25 + 49 + 81)
    transforms = channels * (2.5 * tokens * math.log2(tokens) + tokens)
    assert cost.multiply_adds == taps * tokens + transforms
    assert cost == cost_of("local", channels, 8, batch=1, dtype="float32", work="inference")


def test_cost_of_training_is_three_passes():
    inference, training = (
        cost_of("spam", 32, 8, batch=2, dtype="float16", work=work)
        for work in ("inference", "training")
    )
    assert training.multiply_adds == 3 * inference.multiply_adds
    assert 2 * inference.bytes < training.bytes < 3 * inference.bytes


def cell(model, work="inference"):
    return Cell(model=model, mode="eager", work=work, dtype="float32", batch=1, size=32, stage=1)


@pytest.mark.parametrize("name", [name for name in OPERATORS if "@fused" not in name])
@pytest.mark.parametrize("work", ["inference", "training"])
def test_operator_step_runs_every_operator(name, work, monkeypatch):
    monkeypatch.setattr("spanetv2.benchmark.operators._SHORTEST", 0.0)
    step = operator_step(cell(name, work), 32, 8, device="cpu", channels_last=True)
    result = step.run()
    assert step.repeats == 1
    if work == "inference":
        assert sorted(result.shape) == sorted((1, 8, 8, 32))
    else:
        assert len(result) == 1 + sum(1 for _ in make_operator(name, 32, 8)[0].parameters())
        assert result[0].abs().sum() > 0


def test_operator_step_bundles_short_runs(monkeypatch):
    monkeypatch.setattr("spanetv2.benchmark.operators.timed", lambda step, device: 0.003)
    step = operator_step(cell("sepconv"), 32, 8, device="cpu", channels_last=False)
    assert step.repeats == 7


@pytest.mark.parametrize("name", ["local@fused", "spam@fused"])
def test_operator_step_wants_a_gpu_for_the_fused_operator(name):
    with pytest.raises(UserError, match=f"got {name} on cpu, expected a GPU"):
        operator_step(cell(name), 32, 8, device="cpu", channels_last=False)


def test_measure_rates_takes_the_fastest_run(monkeypatch):
    # start and end of a product and a copy, three times; the first run does not count
    clock = iter([0, 9, 0, 9, 0, 2, 0, 4, 0, 4, 0, 2])
    monkeypatch.setattr("spanetv2.benchmark.rates.time.perf_counter", lambda: next(clock))
    rates = measure_rates(torch.float32, "cpu", side=10, megabytes=1, runs=2)
    assert rates == Rates(multiply_adds=1000 / 2, bytes=2e6 / 2)
