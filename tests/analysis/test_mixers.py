"""Token mixers of many kinds of networks are found and called as they are in the network."""

import pytest
import timm
import torch
from torch import nn

import spanetv2
from spanetv2.analysis.arrays import Gap
from spanetv2.analysis.attention_maps import attention_map_response
from spanetv2.analysis.jacobian import jacobian_response
from spanetv2.analysis.mixers import find_mixers, record_calls
from spanetv2.errors import UserError

# name, options, image size, layouts, kinds, grids from the first to the last block
NETWORKS = [
    (
        "spanetv2_pico_hybrid",
        {"img_size": 64},
        64,
        {"NHWC"},
        {"spam", "attention"},
        [(16, 16)] * 2 + [(8, 8)] * 2 + [(4, 4)] * 4 + [(2, 2)],
    ),
    (
        "vit_tiny_patch16_224",
        {"img_size": 64, "depth": 2},
        64,
        {"NSC"},
        {"attention"},
        [(4, 4)] * 2,
    ),
    (
        "swin_tiny_patch4_window7_224",
        {"img_size": 56, "depths": (2, 2), "embed_dim": 24, "num_heads": (1, 2)},
        56,
        {"NHWC"},
        {"attention"},
        [(14, 14)] * 2 + [(7, 7)] * 2,
    ),
    (
        "swinv2_cr_tiny_224",
        {"img_size": 56, "depths": (1, 1), "embed_dim": 24, "num_heads": (1, 2)},
        56,
        {"NHWC"},
        {"attention"},
        [(14, 14), (7, 7)],
    ),
    (
        "convnext_atto",
        {"depths": (1, 1, 1, 1)},
        64,
        {"NCHW"},
        {"convolution"},
        [(16, 16), (8, 8), (4, 4), (2, 2)],
    ),
    ("poolformer_s12", {}, 64, {"NCHW"}, {"pooling"}, None),
    ("caformer_s18", {}, 64, {"NCHW", "NSC"}, None, None),
    ("pvt_v2_b0", {"depths": (1, 1, 1, 1)}, 64, {"NSC"}, {"attention"}, None),
    ("mixer_s32_224", {}, 224, {"NSC"}, {"mlp"}, [(7, 7)] * 8),
    ("inception_next_tiny", {"depths": (1, 1, 1, 1)}, 64, {"NCHW"}, {"convolution"}, None),
    ("resnet18", {}, 64, {"NCHW"}, {"convolution"}, None),
    ("mobilenetv3_small_100", {}, 64, {"NCHW"}, {"convolution"}, None),
]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network[0])
def test_mixers_are_found_and_called_as_in_the_network(network) -> None:
    name, options, size, layouts, kinds, grids = network
    torch.manual_seed(0)
    model = timm.create_model(name, **options).eval()
    images = torch.randn(2, 3, size, size)
    mixers = find_mixers(model)
    outputs: dict[str, torch.Tensor] = {}
    handles = [
        m.module.register_forward_hook(
            lambda _m, _i, output, name=m.name: outputs.setdefault(name, output)
        )
        for m in mixers
        if m.function is m.module
    ]
    calls, gaps = record_calls(model, mixers, images)
    for handle in handles:
        handle.remove()
    assert not gaps
    assert len(calls) == len(mixers) > 0
    assert {call.layout for call in calls} == layouts
    assert kinds is None or {call.mixer.kind for call in calls} == kinds
    assert grids is None or [call.grid for call in calls] == grids
    for call in calls:
        with torch.no_grad():
            y_BCHW = call(call.x)
        assert y_BCHW.shape == call.x.shape
        assert y_BCHW.std() > 0
        if call.mixer.name in outputs and call.layout != "NSC":
            expected = outputs[call.mixer.name]
            expected = expected if call.layout == "NCHW" else expected.permute(0, 3, 1, 2)
            torch.testing.assert_close(y_BCHW, expected)
    assert [call.mixer.stage for call in calls] == sorted(call.mixer.stage for call in calls)
    response = jacobian_response(calls[-1], images=1, channels=2, rows=2)
    assert response.gain.max() > 0


def test_shifted_windows_are_probed_on_the_whole_grid() -> None:
    torch.manual_seed(0)
    options = {"img_size": 56, "depths": (2,), "embed_dim": 24, "num_heads": (2,)}
    model = timm.create_model("swin_tiny_patch4_window7_224", **options).eval()
    calls, _ = record_calls(model, find_mixers(model), torch.randn(1, 3, 56, 56))
    assert [call.grid for call in calls] == [(14, 14)] * 2
    plain, shifted = calls
    x = plain.x.clone().requires_grad_()
    (reach,) = torch.autograd.grad(plain(x)[0, :, 0, 0].sum(), x)
    assert reach[0].abs().sum(0)[:7, :7].min() > 0
    assert reach[0].abs().sum(0)[7:].max() == 0
    x = shifted.x.clone().requires_grad_()
    (reach,) = torch.autograd.grad(shifted(x)[0, :, 5, 5].sum(), x)
    assert reach[0].abs().sum(0)[5, 9] > 0  # over the border of the plain windows
    response = attention_map_response(shifted)
    assert response.grid == (7, 7)
    assert response.frequency.dc_gain == pytest.approx(1)


def test_cross_covariance_and_pooled_keys_have_no_map_over_tokens() -> None:
    torch.manual_seed(0)
    model = timm.create_model("xcit_nano_12_p16_224", img_size=64, depth=1).eval()
    calls, gaps = record_calls(model, find_mixers(model), torch.randn(1, 3, 64, 64))
    assert len(gaps) == 2  # class attention
    with pytest.raises(UserError, match="attends to channels"):
        attention_map_response(calls[0])
    model = timm.create_model("pvt_v2_b0", depths=(1, 1, 1, 1)).eval()
    calls, _ = record_calls(model, find_mixers(model), torch.randn(1, 3, 64, 64))
    with pytest.raises(UserError, match="256 queries and 4 keys"):
        attention_map_response(calls[0])


def test_tokens_in_an_order_of_their_own_are_a_gap() -> None:
    model = timm.create_model("naflexvit_base_patch16_gap", depth=1, embed_dim=24, num_heads=2)
    calls, gaps = record_calls(model.eval(), find_mixers(model), torch.randn(1, 3, 64, 64))
    assert not calls
    assert all(isinstance(gap, Gap) and "order of its own" in gap.reason for gap in gaps)


def test_find_mixers_refuses_a_network_without_maps() -> None:
    with pytest.raises(UserError, match="got a Sequential without a token mixer"):
        find_mixers(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)))


def test_recording_leaves_no_hooks() -> None:
    model = spanetv2.create_model("pico_pure", img_size=32, num_classes=2).eval()
    record_calls(model, find_mixers(model), torch.randn(1, 3, 32, 32))
    assert not any(module._forward_hooks for module in model.modules())
