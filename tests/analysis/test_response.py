"""Responses from rows: exact with all of them, unbiased with a few, refused where wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from spanetv2.analysis.attention_maps import attention_map_response, attention_maps, map_response
from spanetv2.analysis.jacobian import jacobian_response, jacobian_rows
from spanetv2.analysis.mixers import find_mixers, record_calls
from spanetv2.analysis.response import M_EFF, response_of_rows
from spanetv2.errors import UserError
from spanetv2.mixers import Attention
from spanetv2.theory.grid import Grid
from spanetv2.theory.response import frequency_response


def all_rows(matrices_GNN: torch.Tensor, grid: tuple[int, int]):
    groups, tokens, _ = matrices_GNN.shape
    places = torch.arange(tokens).expand(groups, tokens)
    return response_of_rows(matrices_GNN.unflatten(2, grid), places)


@pytest.mark.parametrize("grid", [(4, 4), (5, 3), (6, 7)])
def test_all_rows_give_the_response_of_the_theory(grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    tokens = grid[0] * grid[1]
    matrix = torch.randn(1, tokens, tokens, dtype=torch.float64)
    found = all_rows(matrix, grid)
    expected = frequency_response(matrix[0].numpy(), Grid(*grid))
    np.testing.assert_allclose(found.gain, expected.gain, atol=1e-10)
    np.testing.assert_allclose(found.phi, expected.phi, atol=1e-10)
    np.testing.assert_allclose(found.phi2, np.abs(expected.phi) ** 2, atol=1e-10)
    assert found.leakage == pytest.approx(expected.leakage, abs=1e-10)
    assert 0.5 < expected.leakage < 1
    assert found.frequency.centroid == pytest.approx(expected.centroid)


def test_m_eff_is_that_of_row_stochastic_matrices() -> None:
    torch.manual_seed(0)
    maps = torch.randn(3, 2, 36, 36, dtype=torch.float64).mul(2).softmax(-1)
    found = map_response(maps, (6, 6))
    # Rows sum to 1, so that the participation of all rows is N / ||C||^2.
    expected = [36 / m.square().sum().item() for m in maps.flatten(0, 1)]
    np.testing.assert_allclose(found.m_eff_groups, expected, rtol=1e-10)
    # The law of connectivity: mean non-DC g^2 = (N / M_eff - 1) / (N - 1).
    law = np.mean([(36 / m - 1) / 35 for m in expected])
    assert found.frequency.rms_gain**2 == pytest.approx(law, abs=1e-10)


def test_m_eff_is_described_as_it_is_computed() -> None:
    """The rows of a channel together: one that averages 1 token and one that averages 4."""
    rows = torch.zeros(2, 4, 2, 2)
    rows[0, 0, 0, 0] = 1
    rows[0, 1:] = -0.25
    rows[1, :, 0, 0] = 3
    found = response_of_rows(rows, torch.arange(4).expand(2, 4))
    spread = rows.abs().sum(dim=(2, 3)).square().sum(1)
    power = rows.square().sum(dim=(2, 3)).sum(1)
    np.testing.assert_allclose(found.m_eff_groups, spread / power)
    assert found.m_eff == pytest.approx((4 / 1.75 + 1) / 2)
    assert M_EFF.startswith("M_eff is the number of tokens that count: the sum over the rows of")
    docs = Path(__file__).parents[2] / "docs" / "model_analysis.md"
    guide = " ".join(docs.read_text(encoding="utf-8").replace("`", "").split())
    plain = M_EFF.replace("Σ", "sum ").replace("²", "^2").replace("M_eff is", "").rstrip(".")
    for place, name in ((plain, "report"), (guide, "guide")):
        for words in ("the sum over the rows of (sum |J|)^2", "divided by", "in each channel"):
            assert words in place, name
        assert "of a row is" not in place, name


def test_a_few_rows_are_unbiased() -> None:
    """phi of white noise is nearly 0; the naive estimate from 4 rows would be a quarter of g^2."""
    torch.manual_seed(0)
    matrix = torch.randn(400, 25, 25, dtype=torch.float64)
    exact = all_rows(matrix, (5, 5))
    places = torch.stack([torch.randperm(25)[:4] for _ in range(400)])
    rows = matrix[torch.arange(400)[:, None], places].unflatten(2, (5, 5))
    found = response_of_rows(rows, places)
    naive = 0.25 * found.gain2.mean()
    np.testing.assert_allclose(found.gain2.mean(), exact.gain2.mean(), rtol=0.02)
    assert abs(found.phi2.mean() - exact.phi2.mean()) < 0.05 * naive
    assert exact.phi2.mean() > 0.1 * naive
    assert found.leakage == pytest.approx(exact.leakage, abs=0.01)


def test_jacobian_of_a_circular_convolution_is_its_transfer_function() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular", groups=4, bias=False)
    rows, places, channels = jacobian_rows(conv, torch.randn(2, 4, 6, 8), channels=4, rows=5)
    response = response_of_rows(rows, places)
    kernel = torch.zeros(4, 6, 8, dtype=torch.float64)
    kernel[:, :3, :3] = conv.weight.detach()[:, 0].double()
    transfer = torch.fft.fft2(kernel).abs().square()[channels].mean(0)
    assert transfer.std() > 0.01
    np.testing.assert_allclose(response.gain2, transfer, atol=1e-6)
    np.testing.assert_allclose(response.phi2, transfer, atol=1e-6)
    assert response.leakage == pytest.approx(0, abs=1e-5)
    assert response.m_eff == pytest.approx(
        float(
            np.mean(
                [
                    w.abs().sum().square().item() / w.square().sum().item()
                    for w in conv.weight.detach()[channels]
                ]
            )
        ),
        rel=1e-5,
    )


def test_jacobian_rows_equal_autograd_of_one_channel() -> None:
    torch.manual_seed(0)
    attention = Attention(32).double()
    x = torch.randn(2, 32, 3, 4, dtype=torch.float64)

    def mixer(x_BCHW: torch.Tensor) -> torch.Tensor:
        return attention(x_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    rows, places, channels = jacobian_rows(mixer, x, channels=2, rows=12)
    for group, channel in enumerate(channels.tolist()):
        image = x[group // 2]

        def one(map_HW: torch.Tensor, image=image, channel=channel) -> torch.Tensor:
            full = image.clone()
            full[channel] = map_HW
            return mixer(full[None])[0, channel]

        full = torch.autograd.functional.jacobian(one, image[channel]).reshape(12, 3, 4)
        torch.testing.assert_close(rows[group], full[places[group]].float())
        assert rows[group].abs().max() > 1e-3


class TinyAttention(nn.Module):
    """One block of attention over a grid, as a network."""

    def __init__(self, prefix: int = 0) -> None:
        super().__init__()
        from timm.layers.attention import Attention as Sequence

        self.num_prefix_tokens = prefix
        self.block = nn.Module()
        self.block.attn = Sequence(32, num_heads=4)
        self.token = nn.Parameter(torch.randn(1, prefix, 32))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        x = x_BCHW.flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1)
        return self.block.attn(x).mean(1)


@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("fused", [True, False])
def test_attention_maps_are_those_of_the_module(prefix: int, fused: bool) -> None:
    torch.manual_seed(0)
    model = TinyAttention(prefix).eval()
    model.block.attn.fused_attn = fused
    images = torch.randn(2, 32, 4, 4)
    (call,), gaps = record_calls(model, find_mixers(model), images)
    assert not gaps
    maps = attention_maps(call)
    q, k, v = model.block.attn.qkv(call.native(call.x)).unflatten(-1, (3, 4, 8)).unbind(2)
    del v
    logits = torch.einsum("bqad,bsad->baqs", q, k) / 8**0.5
    torch.testing.assert_close(maps, logits.softmax(-1))
    response = attention_map_response(call)
    assert response.grid == (4, 4)
    assert response.frequency.dc_gain == pytest.approx(1)
    assert response.gain.max() <= 1 + 1e-9
    if prefix:
        assert response.row_sum == pytest.approx(maps[:, :, prefix:, prefix:].sum(-1).mean().item())
    else:
        assert response.row_sum is None


def test_masked_attention_is_seen_with_its_mask() -> None:
    torch.manual_seed(0)

    class Masked(nn.Module):
        def forward(self, x_BHWC: torch.Tensor) -> torch.Tensor:
            x = x_BHWC.flatten(1, 2)[:, None]
            mask = torch.ones(4, 4, dtype=torch.bool).tril()
            return F.scaled_dot_product_attention(x, x, x, attn_mask=mask)[:, 0].unflatten(
                1, (2, 2)
            )

    model = nn.Sequential()
    model.attn = nn.Sequential(nn.LayerNorm(8), Masked())
    (call,), _ = record_calls(model, find_mixers(model), torch.randn(1, 2, 2, 8))
    maps = attention_maps(call)
    assert maps.shape == (1, 1, 4, 4)
    assert maps.triu(1).abs().max() == 0
    assert maps[0, 0, 3].min() > 0


def test_map_response_refuses_what_is_no_attention_map() -> None:
    maps = torch.rand(1, 1, 9, 9)
    with pytest.raises(UserError, match="rows do not sum to 1"):
        map_response(maps, (3, 3))
    signed = torch.eye(9)[None, None] * 2 - torch.full((9, 9), 1 / 9)
    with pytest.raises(UserError, match="negative"):
        map_response(signed, (3, 3))
    with pytest.raises(UserError, match="at least the 16 tokens"):
        map_response(maps.softmax(-1), (4, 4))
    with pytest.raises(UserError, match="rows do not sum"):
        map_response(torch.full((1, 1, 9, 9), float("nan")), (3, 3))


def test_response_of_rows_refuses_what_does_not_fit() -> None:
    rows, places = torch.randn(1, 3, 2, 2), torch.tensor([[0, 1, 2]])
    with pytest.raises(UserError, match=r"expected \(groups, rows, H, W\)"):
        response_of_rows(rows[0], places)
    with pytest.raises(UserError, match="outside the 2 x 2 grid"):
        response_of_rows(rows, places + 2)
    with pytest.raises(UserError, match="a position twice"):
        response_of_rows(rows, places * 0)
    with pytest.raises(UserError, match="not finite"):
        response_of_rows(rows / 0, places)
    with pytest.raises(UserError, match="one row per matrix"):
        response_of_rows(rows[:, :1], places[:, :1])


def test_radial_curves_have_named_axes() -> None:
    response = all_rows(torch.eye(64)[None] * 2, (8, 8))
    curves = response.radial()
    assert curves.dims == ("quantity", "radius")
    np.testing.assert_allclose(curves.values, 2, atol=1e-12)
    assert curves.coords["radius"][0] == 0
    assert 2.5 < curves.coords["radius"][-1] <= np.pi


def test_jacobian_response_asks_for_images() -> None:
    model = TinyAttention().eval()
    (call,), _ = record_calls(model, find_mixers(model), torch.randn(1, 32, 4, 4))
    with pytest.raises(UserError, match="got 0 images"):
        jacobian_response(call, images=0)
    with pytest.raises(UserError, match="expected at least 1 and 2"):
        jacobian_response(call, rows=1)
    assert jacobian_response(call).gain.shape == (4, 4)
