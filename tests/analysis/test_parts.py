"""Mixers on windows and patches: which token of the image lies where is read from the network."""

import pytest
import timm
import torch
from torch import Tensor, nn

from spanetv2.analysis.attention_maps import attention_map_response
from spanetv2.analysis.log_amplitude import relative_log_amplitude
from spanetv2.analysis.mixer_call import MixerCall, PartOrder
from spanetv2.analysis.mixers import token_mixers
from spanetv2.errors import UserError


def reach(call: MixerCall, row: int, column: int) -> Tensor:
    """The tokens (H, W) on which the output at one token depends."""
    x = call.x[:1].detach().clone().requires_grad_()
    (grad,) = torch.autograd.grad(call(x)[0, :, row, column].square().sum(), x)
    return grad[0].abs().sum(0) > 0


def block(side: int, row: int, column: int, grid: tuple[int, int]) -> Tensor:
    """The window of ``side`` x ``side`` tokens around a token."""
    rows, columns = torch.meshgrid(*(torch.arange(n) // side for n in grid), indexing="ij")
    return (rows == row // side) & (columns == column // side)


def comb(step: int, row: int, column: int, grid: tuple[int, int]) -> Tensor:
    """Every ``step``-th token from one on, in both directions."""
    rows, columns = torch.meshgrid(*(torch.arange(n) % step for n in grid), indexing="ij")
    return (rows == row % step) & (columns == column % step)


def hf_swin() -> nn.Module:
    from transformers import SwinConfig, SwinForImageClassification

    config = SwinConfig(
        embed_dim=12,
        depths=[2, 1],
        num_heads=[1, 2],
        window_size=4,
        image_size=40,
        patch_size=2,
    )
    return SwinForImageClassification(config)


# network, image size, start of the mixer's name, what a token sees, the window's own grid
NETWORKS = {
    "hf swin": (hf_swin, 40, "swin.encoder.layers.0.blocks.0", block, 4, (4, 4)),
    # 10 x 10 tokens are padded to 12 x 12
    "hf swin, padded": (hf_swin, 40, "swin.encoder.layers.1.blocks.0", block, 4, (4, 4)),
    "mobilevit": ("mobilevit_xxs", 128, "stages.2.1.transformer.1", comb, 2, (8, 8)),
    "mobilevit2": ("mobilevitv2_050", 128, "stages.2.1.transformer.1", comb, 2, None),
    "nest": ("nest_tiny", 64, "levels.0.transformer_encoder.1", block, 4, (4, 4)),
    "hiera": ("hiera_tiny_224", 128, "blocks.0", block, 8, None),
    "hiera, later": ("hiera_tiny_224", 128, "blocks.2", block, 4, None),
    "davit": ("davit_tiny", 56, "stages.0.blocks.0.0", block, 7, (7, 7)),
}
OPTIONS = {
    "nest_tiny": {"img_size": 64},
    "hiera_tiny_224": {"img_size": 128, "stages": (1, 2, 1, 1)},
    "davit_tiny": {"depths": (1, 1), "embed_dims": (32, 64), "num_heads": (1, 2)},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_token_sees_those_of_its_part(name: str) -> None:
    make, size, place, seen, side, window = NETWORKS[name]
    torch.manual_seed(0)
    model = timm.create_model(make, **OPTIONS.get(make, {})) if isinstance(make, str) else make()
    calls, _ = token_mixers(model.eval(), torch.randn(3, 3, size, size))
    call = next(c for c in calls if c.mixer.name.startswith(place) and c.layout == "parts")
    height, width = call.grid
    for row, column in ((0, 0), (height - 1, 1), (2, width // 2), (height - 1, width - 1)):
        found = reach(call, row, column)
        assert torch.equal(found, seen(side, row, column, call.grid))
    if window is not None:
        assert attention_map_response(call).grid == window


def test_hf_swins_shifted_windows_reach_over_the_border() -> None:
    torch.manual_seed(0)
    images = torch.randn(2, 3, 32, 32)
    calls, gaps = token_mixers(hf_swin().eval(), images)
    assert not gaps
    plain, shifted = calls[:2]
    assert (plain.grid, shifted.grid) == ((16, 16), (16, 16))
    found = reach(shifted, 5, 5)
    assert found.nonzero().min(0).values.tolist() == [2, 2]
    assert found.nonzero().max(0).values.tolist() == [5, 5]
    assert found.sum() == 16
    corner = reach(shifted, 0, 0)  # the windows that the roll cuts stay apart
    assert corner.nonzero().max(0).values.tolist() == [1, 1]


def test_blocks_of_parts_have_their_amplitude() -> None:
    """The blocks' outputs are parts (MobileViT) or whole sequences (Swin)."""
    for make, size in ((hf_swin, 40), (lambda: timm.create_model("mobilevit_xxs"), 128)):
        model = make().eval()
        images = torch.randn(1, 3, size, size)
        calls, _ = token_mixers(model, images)
        curves, gaps = relative_log_amplitude(model, calls, images)
        assert {c.mixer.block for c in calls} == {c.block for c in curves} | {g.part for g in gaps}
        assert {curve.kind for curve in curves} >= {"attention"}


def test_an_order_knows_the_sides_of_its_parts() -> None:
    columns = torch.arange(16).view(4, 4)
    windows = columns.view(2, 2, 2, 2).permute(0, 2, 1, 3).reshape(4, 4)
    order = PartOrder(grid=(4, 4), places=windows, channel_axis=-1)
    assert order.sides(4) == (2, 2)
    x_BCHW = torch.randn(3, 5, 4, 4)
    parts = x_BCHW.flatten(2).transpose(1, 2)[:, windows.flatten()].reshape(12, 4, 5)
    torch.testing.assert_close(order.map_of(parts), x_BCHW, rtol=0, atol=0)
    scattered = windows[:, torch.tensor([0, 3, 1, 2])]
    assert PartOrder(grid=(4, 4), places=scattered, channel_axis=-1).sides(4) is None
    with pytest.raises(UserError, match="not to the same grid"):
        order.map_of(parts[:, :2])


class Shuffled(nn.Module):
    """Windows whose tokens are changed on the way, so that nothing can be read."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, 4)
        self.attn = timm.layers.attention.Attention(8, num_heads=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).sin()
        x = x.unflatten(2, (2, 2)).unflatten(4, (2, 2)).permute(0, 2, 4, 3, 5, 1)
        return self.attn(x.reshape(-1, 4, 8)).mean(1)


def test_parts_that_cannot_be_read_are_a_gap() -> None:
    calls, (gap,) = token_mixers(Shuffled().eval(), torch.randn(2, 3, 16, 16))
    assert not calls
    assert gap.reason.startswith("it works on 8 parts of 2 images, and how they are cut")
