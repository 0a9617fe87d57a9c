import pytest
import torch
from torch import nn

from spanetv2.errors import UserError
from spanetv2.precision import (
    choose_precision,
    compute_in,
    gain_of,
    judge,
    kind_of_row,
    measured_processors,
)

CPU = torch.device("cpu")


def row(points_lost=0.0):
    cells = [(10, 1, 1.1), (10, 8, 2.0), (100, 1, 1.5), (100, 8, 3.0)]
    names = ("parameters", "batch", "gain")
    networks = [dict(zip(names, cell, strict=True)) for cell in cells]
    return {"networks": networks, "points_lost": points_lost}


@pytest.mark.parametrize(("parameters", "gain"), [(9, None), (10, 1.1), (99, 1.1), (100, 1.5)])
def test_gain_is_the_least_of_the_next_smaller_network(parameters, gain):
    assert gain_of(row(), parameters) == gain


@pytest.mark.parametrize(
    ("parameters", "name"), [(9, "float32"), (50, "float32"), (10**9, "bfloat16")]
)
def test_judge_takes_bfloat16_where_it_is_fast_enough(parameters, name):
    assert judge(row(), parameters).name == name


@pytest.mark.parametrize(
    ("points", "name"), [(0.1, "bfloat16"), (0.11, "float32"), (-1, "bfloat16")]
)
def test_judge_takes_bfloat16_where_it_keeps_the_accuracy(points, name):
    assert judge(row(points), 100).name == name


def test_auto_follows_the_table_on_this_processor():
    chosen = choose_precision("auto", CPU, parameters=10**9)
    known = measured_processors().get(kind_of_row())
    assert chosen.name == ("float32" if known is None else judge(known, 10**9).name)


def test_auto_is_float32_on_a_gpu_and_for_a_task_without_bfloat16():
    gpu = choose_precision("auto", torch.device("cuda"), parameters=10**9)
    other = choose_precision("auto", CPU, parameters=10**9, supported=("float32",))
    assert gpu.name == other.name == "float32"


def test_given_precisions_are_taken_anywhere():
    for device in (CPU, torch.device("cuda")):
        for name in ("float32", "bfloat16"):
            chosen = choose_precision(name, device, parameters=1)
            assert chosen.dtype == getattr(torch, name)
            assert "as asked" in chosen.text


def test_unknown_precisions_are_refused():
    with pytest.raises(UserError, match=r"got dtype 'float16', expected one of auto, float32, bfl"):
        choose_precision("float16", CPU, parameters=1)
    with pytest.raises(UserError, match=r"got dtype 'bfloat16', expected float32 for this task"):
        choose_precision("bfloat16", CPU, parameters=1, supported=("float32",))


@pytest.mark.parametrize("kind", sorted(measured_processors()))
def test_rows_of_the_table_are_whole(kind):
    known = measured_processors()[kind]
    assert {cell["batch"] for cell in known["networks"]} == {1, 8}
    assert all(cell["gain"] > 0 for cell in known["networks"])
    low = known["top1"]["float32"] - known["points_lost"] / 100
    assert low == pytest.approx(known["top1"]["bfloat16"])


class TwoMaps(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 4)

    def forward(self, x, index):
        self.seen = x.dtype
        return {"maps": [self.layer(x)], "index": index}


def test_compute_in_casts_weights_input_and_output():
    torch.manual_seed(0)
    module, x, index = TwoMaps().requires_grad_(False), torch.randn(3, 8), torch.arange(3)
    exact = module(x, index)["maps"][0]
    compute_in(module, torch.bfloat16)
    answer = module(x, index)
    (maps,) = answer["maps"]
    assert module.seen == module.layer.weight.dtype == torch.bfloat16
    assert maps.dtype == torch.float32
    assert answer["index"].dtype == torch.int64
    assert 0 < float((maps - exact).abs().max()) < 0.02 * float(exact.abs().max())


def test_compute_in_float32_leaves_a_module_alone():
    module = TwoMaps()
    compute_in(module, torch.float32)
    assert module(torch.zeros(1, 8), torch.arange(1))["maps"][0].dtype == torch.float32
    assert not module._forward_hooks
