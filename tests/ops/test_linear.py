"""Linear layers as convolutions, and the choice between the two."""

import json

import pytest
import torch
from torch import nn

from spanetv2.environment import processor_kind
from spanetv2.ops.linear import (
    FORMS,
    PRECISIONS,
    WORKS,
    fastest_form,
    linear_of_maps,
    takes_maps,
)
from spanetv2.ops.linear.choice import TABLE


def test_linear_of_maps_is_the_layer():
    layer, x_BCHW = nn.Linear(6, 4), torch.randn(2, 6, 3, 5)
    expected = layer(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(linear_of_maps(layer, x_BCHW), expected)


def test_linear_of_maps_calls_what_is_more_than_its_weights():
    class Adapted(nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input) + 1

    layer, x_BCHW = Adapted(6, 4), torch.randn(2, 6, 3, 5)
    expected = layer(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    torch.testing.assert_close(linear_of_maps(layer, x_BCHW), expected)
    plain, seen = nn.Linear(6, 4), []
    plain.register_forward_hook(lambda *call: seen.append(call))
    linear_of_maps(plain, x_BCHW)
    assert len(seen) == 1


@pytest.fixture
def bfloat16_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table by which maps are faster in bfloat16, and in nothing else."""
    table = {(work, torch.bfloat16): "maps" for work in WORKS}
    monkeypatch.setattr("spanetv2.ops.linear.choice._FASTEST", table)


def test_a_set_form_is_taken_in_any_precision():
    x = torch.randn(2, 4)
    assert takes_maps("maps", x)
    assert takes_maps("maps", x.bfloat16())
    assert not takes_maps("tokens", x)


@pytest.mark.usefixtures("bfloat16_alone")
def test_auto_goes_by_the_precision_that_layers_compute_in():
    x = torch.randn(2, 4)
    assert takes_maps("auto", x.bfloat16())
    assert not takes_maps("auto", x)
    assert not takes_maps("auto", x.half())
    assert not takes_maps("auto", torch.empty(2, device="meta", dtype=torch.bfloat16))
    with torch.autocast("cpu", torch.bfloat16):
        assert takes_maps("auto", x)
    with torch.autocast("cpu", torch.float16):
        assert not takes_maps("auto", x.bfloat16())


@pytest.mark.usefixtures("bfloat16_alone")
def test_compiled_code_asks_for_the_precision_too():
    def shown(x: torch.Tensor) -> torch.Tensor:
        return x + 1 if takes_maps("auto", x) else x - 1

    call, x = torch.compile(shown, backend="eager", fullgraph=True), torch.zeros(2)
    assert call(x).sum() == -2
    assert call(x.bfloat16()).sum() == 2
    with torch.autocast("cpu", torch.bfloat16):
        assert call(x).sum() == 2


def test_table_has_forms_and_says_where_they_come_from():
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    assert {"AMD family 25 avx512f", "AMD family 26 avx512f"} <= set(table)
    for entry in table.values():
        assert set(entry) <= set(WORKS)
        for cells in entry.values():
            assert set(cells) <= set(PRECISIONS)
            for cell in cells.values():
                assert cell["form"] in FORMS[1:]
                assert cell["source"]


def test_processor_kind_is_one_line():
    kind = processor_kind()
    assert kind
    assert kind == kind.strip()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_other_devices_than_cpus_take_tokens(compiled, training):
    assert fastest_form("cuda", compiled=compiled, training=training) == "tokens"
