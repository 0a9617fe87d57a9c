"""The widths of the rows, and what they cost."""

import pytest
import torch

from spanetv2.errors import UserError
from spanetv2.models.backbone import SPANetV2
from studies.mixers.matching import LARGEST_MISMATCH, Skeleton, cost_of, match_widths
from studies.mixers.plan import PLANS
from studies.mixers.rows import REFERENCE, ROWS, UNMATCHED, find_row

CASES = [("cpu", name) for name in ROWS]
CASES += [("gpu", name) for name in ("sepconv", "attention", "hybrid", "identity")]


@pytest.mark.parametrize(("plan", "name"), CASES)
def test_matched_rows_have_the_parameters_of_the_reference(plan: str, name: str) -> None:
    skeleton = PLANS[plan].skeleton
    row = ROWS[name]
    dims = match_widths(row, skeleton)
    reference = cost_of(ROWS[REFERENCE], skeleton, skeleton.dims)
    cost = cost_of(row, skeleton, dims)
    # counted once more on a real network
    model = SPANetV2(
        skeleton.depths,
        dims,
        row.mixers,
        in_chans=1,
        num_classes=10,
        img_size=28,
        stem_stride=2,
        head_order=row.head_order,
        gate=row.gate,
    )
    assert cost.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert abs(cost.parameters / reference.parameters - 1) <= LARGEST_MISMATCH
    assert 0.8 < cost.multiply_adds / reference.multiply_adds < 1.4
    assert model.eval()(torch.zeros(1, 1, 28, 28)).shape == (1, 10)


def test_widths_of_the_cpu_plan() -> None:
    skeleton = PLANS["cpu"].skeleton
    widths = {name: match_widths(ROWS[name], skeleton) for name in PLANS["cpu"].rows}
    assert widths == {
        "spam": (16, 32, 64, 96),
        "spam_no_srf": (16, 32, 64, 96),
        "spam_3": (16, 32, 64, 96),
        "sepconv": (16, 32, 64, 96),
        "attention": (16, 48, 64, 96),
    }
    assert match_widths(ROWS["identity"], skeleton) == (20, 40, 80, 112)
    assert match_widths(find_row("identity" + UNMATCHED), skeleton) == skeleton.dims


def test_unmatched_widths_are_rounded_up_to_whole_heads() -> None:
    dims = match_widths(find_row("attention_unmatched"), PLANS["gpu"].skeleton)
    assert dims == (32, 48, 96, 128)


def test_multiply_adds_are_those_of_the_layers() -> None:
    """One stage of one block, counted by hand."""
    skeleton = Skeleton(
        depths=(1, 1, 1, 1), dims=(16, 16, 16, 16), stem_stride=1, image=(1, 16, 16), num_classes=10
    )
    identity = cost_of(ROWS["identity"], skeleton, skeleton.dims).multiply_adds
    spam = cost_of(ROWS["spam"], skeleton, skeleton.dims).multiply_adds
    no_srf = cost_of(ROWS["spam_no_srf"], skeleton, skeleton.dims).multiply_adds
    tokens = [256, 64, 16, 4]
    linear = 16 * 16 * 3 + 32 * 4 + 32 * 16  # query, context, out; grouped; mix
    local = 4 * (9 + 25 + 49 + 81)
    assert no_srf - identity == sum(tokens) * (linear + local)
    fft = sum(16 * (2.5 * n * n.bit_length() - 2.5 * n + n) for n in tokens)
    assert spam - no_srf == pytest.approx(fft)


def test_refuses_what_cannot_be_matched() -> None:
    narrow = Skeleton(
        depths=(1, 1, 1, 1), dims=(4, 4, 4, 4), stem_stride=1, image=(1, 8, 8), num_classes=2
    )
    with pytest.raises(UserError, match="row attention: got no widths within 5%"):
        match_widths(ROWS["attention"], narrow)
    with pytest.raises(UserError, match="got row 'mlp', expected one of spam"):
        find_row("mlp")
