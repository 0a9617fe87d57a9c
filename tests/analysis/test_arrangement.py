"""A token's place in the grid is that of the patch it was made of, whatever the image's shape."""

import pytest
import timm
import torch
from torch import nn

from spanetv2.analysis.activation_maps import class_activation_maps
from spanetv2.analysis.arrangement import sequence_grid
from spanetv2.analysis.attention_maps import attention_map_response
from spanetv2.analysis.log_amplitude import relative_log_amplitude
from spanetv2.analysis.mixer_call import MixerCall
from spanetv2.analysis.mixers import find_mixers, record_calls


def first_call(model: nn.Module, images: torch.Tensor) -> MixerCall:
    calls, gaps = record_calls(model, find_mixers(model), images)
    assert not gaps
    return calls[0]


class Wrapped(nn.Module):
    """A user's network around a backbone that knows its grid."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.backbone(x)


def dynamic_vit(**options: object) -> nn.Module:
    torch.manual_seed(0)
    options = {"dynamic_img_size": True, "num_classes": 3, "depth": 2, **options}
    return timm.create_model("test_vit", **options).eval()


NETWORKS = {
    "no class token": lambda: dynamic_vit(class_token=False, global_pool="avg"),
    "class token": dynamic_vit,
    "registers": lambda: dynamic_vit(reg_tokens=4),
    "padded": lambda: dynamic_vit(dynamic_img_pad=True),
    "in a module": lambda: Wrapped(dynamic_vit()),
    "in a sequence": lambda: nn.Sequential(nn.Identity(), dynamic_vit()),
    "compiled": lambda: torch.compile(dynamic_vit(), backend="eager"),
    "data parallel": lambda: nn.DataParallel(dynamic_vit()),
}


@pytest.mark.parametrize("size", [(112, 448), (448, 112), (64, 256), (64, 96), (128, 64)])
@pytest.mark.parametrize("name", NETWORKS)
def test_tokens_lie_where_their_patches_are(name: str, size: tuple[int, int]) -> None:
    """A patch of the image is changed; before the first mixer that is one token, at its place."""
    network = NETWORKS[name]()
    rows, columns = size[0] // 16, size[1] // 16
    row, column = 2, columns - 1
    images = torch.zeros(2, 3, *size)
    images[1, :, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = torch.randn(3, 16, 16)
    call = first_call(network, images)
    assert call.grid == (rows, columns)
    changed = (call.x[1] - call.x[0]).abs().sum(0)
    assert changed.nonzero().tolist() == [[row, column]]


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("caformer_s18", {}, (64, 256)),
        ("pvt_v2_b0", {"depths": (1, 1, 1, 1)}, (64, 256)),
        ("levit_128s", {"img_size": (64, 256)}, (64, 256)),
        ("mixer_s32_224", {"img_size": (64, 256)}, (64, 256)),
        ("xcit_nano_12_p16_224", {"img_size": (64, 256), "depth": 1}, (64, 256)),
    ],
)
def test_grids_have_the_images_proportions(name: str, options: dict, size: tuple[int, int]) -> None:
    """Networks of square patches: each grid is as many times wider as the image, not square."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=3, **options).eval()
    calls, _ = record_calls(model, find_mixers(model), torch.randn(1, 3, *size))
    assert calls
    assert {call.grid[1] / call.grid[0] for call in calls} == {size[1] / size[0]}


def test_every_measure_uses_the_grid() -> None:
    model = dynamic_vit()
    images = torch.randn(2, 3, 112, 448)
    calls, _ = record_calls(model, find_mixers(model), images)
    assert attention_map_response(calls[0]).grid == (7, 28)
    curves, gaps = relative_log_amplitude(model, calls, images)
    assert not gaps
    assert len(curves[0].curve.values) == 4
    pytest.importorskip("pytorch_grad_cam")
    assert class_activation_maps(model, calls, images)[0].shape == (2, 112, 448)


@pytest.mark.parametrize("window", [(2, 8), (8, 2), (2, 2)])
def test_windows_have_the_sides_of_their_block(window: tuple[int, int]) -> None:
    torch.manual_seed(0)
    options = {"img_size": 64, "depths": (1,), "embed_dim": 24, "num_heads": (2,)}
    model = timm.create_model("swin_tiny_patch4_window7_224", window_size=window, **options).eval()
    call = first_call(model, torch.randn(1, 3, 64, 64))
    assert call.grid == (16, 16)
    assert attention_map_response(call).grid == window


class Patchless(nn.Module):
    """Tokens cut by reshaping, of which nothing says how they lie: 64 tokens of 2 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Module()
        self.block.attn = timm.layers.attention.Attention(48, num_heads=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.unflatten(2, (16, 2)).unflatten(4, (4, 8)).permute(0, 2, 4, 1, 3, 5)
        return self.block.attn(x.flatten(1, 2).flatten(2)).mean(1)


def test_tokens_of_which_nothing_tells_are_a_gap() -> None:
    calls, gaps = record_calls(
        model := Patchless().eval(), find_mixers(model), torch.randn(1, 3, 32, 32)
    )
    assert not calls
    assert gaps[0].reason == "nothing tells how its 64 tokens lie in the image"


def test_sequence_grid_prefers_what_is_nearest_to_the_tokens() -> None:
    model = nn.Module()
    assert sequence_grid(model, 16) is None
    assert sequence_grid(model, 16, maps=[(5, 5), (2, 8), (4, 4)]) == (0, (2, 8))
    assert sequence_grid(model, 17, maps=[(2, 8)]) is None
    model.num_prefix_tokens = 1
    assert sequence_grid(model, 17, maps=[(2, 8)]) == (1, (2, 8))
    assert sequence_grid(model, 16, maps=[(2, 8)]) == (0, (2, 8))
    assert sequence_grid(model, 12, (3, 4), maps=[(2, 6)]) == (0, (3, 4))
    model.patch_embed = nn.Module()
    model.patch_embed.grid_size = (4, 4)
    assert sequence_grid(model, 17, maps=[(2, 8)]) == (1, (2, 8))
    assert sequence_grid(model, 17) == (1, (4, 4))
    inner = nn.Module()
    inner.num_prefix_tokens = 2
    assert sequence_grid(model, 18, within=[inner]) == (2, (4, 4))
