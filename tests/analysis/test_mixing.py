"""What mixes tokens is heard in a forward pass, whatever it is called, in any library."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spanetv2.analysis.attention_maps import attention_map_response
from spanetv2.analysis.jacobian import jacobian_response
from spanetv2.analysis.mixers import token_mixers
from spanetv2.analysis.mixing import listen
from spanetv2.errors import UserError

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32}
SEGFORMER = {"depths": [1, 1], "hidden_sizes": [8, 16], "num_attention_heads": [1, 2]}
SEGFORMER |= {"num_encoder_blocks": 2, "sr_ratios": [2, 1], "strides": [4, 2]}
SEGFORMER |= {"patch_sizes": [7, 3], "mlp_ratios": [2, 2], "decoder_hidden_size": 16}


def hf(kind: str, config: str, **options: object) -> nn.Module:
    import transformers

    return getattr(transformers, kind)(getattr(transformers, config)(**options))


def tv_vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    return VisionTransformer(32, 8, 2, 2, 16, 32, num_classes=3)


def tv_swin() -> nn.Module:
    from torchvision.models import SwinTransformer

    return SwinTransformer([4, 4], 12, [2, 2], [1, 2], [4, 4], num_classes=3)


def of_timm(name: str, **options: object) -> nn.Module:
    return timm.create_model(name, num_classes=3, **options)


# network, image size, how many mixers of each kind, how many of them have an attention map
NETWORKS = {
    "hf vit": (
        lambda: hf("ViTForImageClassification", "ViTConfig", **SMALL, patch_size=8),
        *(32, {"attention": 2}, 2),
    ),
    "hf dinov2": (
        lambda: hf("Dinov2ForImageClassification", "Dinov2Config", **SMALL, patch_size=8),
        *(32, {"attention": 2}, 2),
    ),
    "hf segformer": (
        lambda: hf("SegformerForImageClassification", "SegformerConfig", **SEGFORMER),
        *(64, {"attention": 2, "convolution": 2}, 1),
    ),
    "hf segformer, segmenter": (
        lambda: hf("SegformerForSemanticSegmentation", "SegformerConfig", **SEGFORMER),
        *(64, {"attention": 2, "convolution": 2}, 1),
    ),
    "torchvision vit": (tv_vit, 32, {"attention": 2}, 2),
    "torchvision swin": (tv_swin, 32, {"attention": 4}, 4),
    "crossvit": (lambda: of_timm("crossvit_9_240"), 240, {"attention": 12}, 12),
    "swiftformer": (lambda: of_timm("swiftformer_xs"), 64, {"convolution": 16, "attention": 4}, 0),
    "efficientvit": (
        lambda: of_timm("efficientvit_b0"),
        *(64, {"convolution": 7, "attention": 4}, 0),
    ),
    "edgenext": (
        lambda: of_timm("edgenext_xx_small"),
        *(64, {"convolution": 15, "attention": 3}, 0),
    ),
    "gmlp": (lambda: of_timm("gmlp_s16_224"), 224, {"mlp": 30}, 0),
    "densenet": (lambda: of_timm("densenet121"), 64, {"convolution": 58}, 0),
    "sequencer": (lambda: of_timm("sequencer2d_s", layers=(1, 1, 1, 1)), 224, {"recurrent": 4}, 0),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_mixer_of_a_network_is_measured(name: str) -> None:
    make, size, kinds, maps = NETWORKS[name]
    torch.manual_seed(0)
    model = make().eval()
    calls, _ = token_mixers(model, torch.randn(2, 3, size, size))
    counts: dict[str, int] = {}
    for call in calls:
        counts[call.mixer.kind] = counts.get(call.mixer.kind, 0) + 1
    assert counts == kinds
    response = jacobian_response(calls[-1], images=1, channels=2, rows=2)
    assert response.gain.max() > 0
    seen = 0
    for call in calls:
        try:
            response = attention_map_response(call)
        except UserError:
            continue
        assert response.frequency.dc_gain == pytest.approx(1)
        seen += 1
    assert seen == maps


def test_a_multihead_attention_is_called_as_in_the_network() -> None:
    """Query, key and value are one tensor: all of them follow the input."""
    torch.manual_seed(0)
    model = tv_vit().eval()
    outputs = []
    layer = model.encoder.layers[0].self_attention
    handle = layer.register_forward_hook(lambda _m, _i, output: outputs.append(output[0]))
    calls, _ = token_mixers(model, torch.randn(2, 3, 32, 32))
    handle.remove()
    y_BCHW = calls[0](calls[0].x)
    torch.testing.assert_close(y_BCHW, outputs[-1][:, 1:].transpose(1, 2).unflatten(2, (4, 4)))
    changed = calls[0](calls[0].x * 2)
    assert (changed - y_BCHW).abs().max() > 1e-3
    x = calls[0].x.clone().requires_grad_()
    (reach,) = torch.autograd.grad(calls[0](x)[0, :, 0, 0].sum(), x)
    assert (reach[0].abs().sum(0) > 0).all()


def test_encoder_layers_of_torch_are_not_skipped() -> None:
    """In evaluation mode they would call none of the modules inside them."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.layer = nn.Conv2d(3, 8, 4, 4), layer

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(self.embed(x).flatten(2).transpose(1, 2)).mean(1)

    calls, gaps = token_mixers(Network().eval(), torch.randn(2, 3, 16, 16))
    assert not gaps
    assert [(call.mixer.name, call.grid) for call in calls] == [("layer.self_attn", (4, 4))]


class Mixers(nn.Module):
    """One of each kind, with names that tell nothing, and what must not be taken for a mixer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, 4)
        self.a = nn.Conv2d(8, 12, 3, padding=1)
        self.b = nn.MaxPool2d(3, 1, 1)
        self.c = nn.Linear(16, 16)
        self.d = Waves()
        self.down = nn.Conv2d(12, 12, 3, 2, 1)
        self.point = nn.Conv2d(12, 12, 1)
        self.channels = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(self.stem(x)))
        x = self.c(x.flatten(2)).unflatten(2, (4, 4))
        x = self.point(self.down(self.d(x)))
        return self.channels(x.mean((2, 3)))


class Waves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x) * 0.5, s=x.shape[2:])


def test_kinds_are_told_by_what_is_computed() -> None:
    model = Mixers().eval()
    images = torch.randn(2, 3, 16, 16)
    heard = {m.place: m.kind for m in listen(model, images)}
    assert heard == {"a": "convolution", "b": "pooling", "c": "mlp", "d": "fourier"}
    calls, gaps = token_mixers(model, images)
    assert not gaps
    assert [call.mixer.name for call in calls] == ["a", "b", "c", "d"]
    # 8 channels to 12: those of as high a place are held against each other
    assert jacobian_response(calls[0], images=1, channels=12, rows=4).gain.min() > 0
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_more_channels_of_a_depthwise_convolution_belong_to_their_own_group() -> None:
    """Output 2 c and 2 c + 1 depend on input c alone; of any other the response would be 0."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 8, 3, padding=1, groups=4), nn.Conv2d(8, 4, 3, padding=1))
    calls, _ = token_mixers(model.eval(), torch.randn(1, 4, 8, 8))
    for call in calls:
        assert jacobian_response(call, images=1, channels=8, rows=64).gain2.min() > 0


class Around(nn.Module):
    """A block that joins tokens itself, around a convolution that is looked into."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv2d(3, 8, 4, 4), nn.Module()
        self.body.attn = timm.layers.attention.Attention(8, num_heads=2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body.attn(self.stem(x).flatten(2).transpose(1, 2))
        return (x @ F.softmax(x, dim=1).transpose(1, 2) @ x).mean(1)


def test_what_joins_tokens_around_other_mixers_is_listed() -> None:
    calls, (gap,) = token_mixers(Around().eval(), torch.randn(2, 3, 16, 16))
    assert [call.mixer.name for call in calls] == ["body.attn"]
    assert gap.part == "the network"
    assert "around other mixers" in gap.reason


def test_gaps_of_one_reason_share_a_line() -> None:
    model = timm.create_model("xcit_nano_12_p16_224", img_size=64, depth=1).eval()
    calls, gaps = token_mixers(model, torch.randn(1, 3, 64, 64))
    assert len(calls) == 3
    assert [gap.part for gap in gaps] == ["cls_attn_blocks.0.attn and 1 more"]
    assert "not to the same grid" in gaps[0].reason


def test_a_network_that_mixes_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="got a Sequential without a token mixer"):
        token_mixers(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()), torch.randn(1, 3, 8, 8))
