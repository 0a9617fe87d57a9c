"""Linear layers as convolutions, and the choice between the two."""

import json

import pytest
import torch
from torch import nn

from spanetv2.environment import processor_kind
from spanetv2.ops.linear import FORMS, WORKS, fastest_form, linear_of_maps, takes_maps
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


def test_a_set_form_is_taken_anywhere_and_auto_on_float32_only():
    x = torch.randn(2, 4)
    assert takes_maps("maps", x)
    assert takes_maps("maps", x.bfloat16())
    assert not takes_maps("tokens", x)
    with torch.no_grad():
        expected = fastest_form("cpu", compiled=False, training=False) == "maps"
        assert takes_maps("auto", x) == expected
    assert not takes_maps("auto", x.bfloat16())
    assert not takes_maps("auto", torch.empty(2, device="meta"))


def test_table_has_forms_and_says_where_they_come_from():
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    assert {"AMD family 25 avx512f", "AMD family 26 avx512f"} <= set(table)
    for entry in table.values():
        for work in set(entry) & set(WORKS):
            assert entry[work]["form"] in FORMS[1:]
        assert entry["source"]


def test_processor_kind_is_one_line():
    kind = processor_kind()
    assert kind
    assert kind == kind.strip()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_other_devices_than_cpus_take_tokens(compiled, training):
    assert fastest_form("cuda", compiled=compiled, training=training) == "tokens"
