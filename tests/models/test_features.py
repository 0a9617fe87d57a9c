"""Any network as a backbone: its maps, its names in a state dict, and what it says of itself."""

import copy
import json

import pytest
import timm
import torch

from spanetv2.errors import UserError
from spanetv2.models.features import create_backbone, set_grad_checkpointing

SWIN = {
    "img_size": 64,
    "embed_dim": 8,
    "depths": [1, 1, 1, 1],
    "num_heads": (1, 1, 1, 1),
    "window_size": 2,
}
KINDS = [
    ("spanetv2_pico_hybrid", {"img_size": 64}),  # computes its own maps
    ("resnet10t", {}),  # five maps, of which the coarsest four are taken
    ("swin_tiny_patch4_window7_224", SWIN),  # channels last
    ("test_efficientnet", {"feature_cls": "hook"}),
]


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_maps_have_the_channels_and_strides_that_it_tells(name, options):
    backbone = create_backbone(name, **options).eval()
    with torch.no_grad():
        maps = backbone(torch.randn(2, 3, 64, 64))
    assert len(maps) == len(backbone.channels) == len(backbone.strides) == 4
    for x_BCHW, channels, stride in zip(maps, backbone.channels, backbone.strides, strict=True):
        assert x_BCHW.shape == (2, channels, 64 // stride, 64 // stride)
    again = create_backbone(backbone.record["model_name"], **backbone.record["model_kwargs"])
    assert again.state_dict().keys() == backbone.state_dict().keys()
    assert again.record == backbone.record


@pytest.mark.parametrize(("name", "options"), KINDS)
def test_names_are_those_of_the_network(name, options):
    backbone = create_backbone(name, **options)
    network = backbone.network
    assert backbone.state_dict().keys() == network.state_dict().keys()
    for listing in ("named_parameters", "named_buffers", "named_children"):
        adopted, original = dict(getattr(backbone, listing)()), dict(getattr(network, listing)())
        assert adopted.keys() == original.keys()
        assert all(adopted[key] is original[key] for key in original)
    assert "network" not in dict(backbone.named_modules())


@pytest.mark.parametrize(("name", "options"), KINDS[:3])
def test_what_is_done_to_it_is_done_to_the_network(name, options):
    image = torch.randn(1, 3, 64, 64)
    backbone = create_backbone(name, **options).eval()
    assert not any(module.training for module in backbone.network.modules())
    before = [x.detach().clone() for x in backbone(image)]
    twin = copy.deepcopy(backbone)
    assert twin.network is not backbone.network
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.mul_(1.5)
    assert all(torch.equal(a, b) for a, b in zip(backbone(image), before, strict=True))
    assert not torch.equal(twin(image)[3], before[3])
    twin.load_state_dict(backbone.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(twin(image), before, strict=True))
    # to the meta device tensors are exchanged, not filled
    assert all(p.is_meta for p in twin.to("meta").network.parameters())
    assert all(x.is_meta for x in twin(image.to("meta")))


def test_a_buffer_or_parameter_beside_the_children_is_shared_too():
    backbone = create_backbone("resnet10t")
    backbone.network.register_parameter("scale", torch.nn.Parameter(torch.ones(1)))
    backbone.network.register_buffer("offset", torch.zeros(1), persistent=False)
    assert backbone.scale is backbone.network.scale
    assert "scale" in backbone.state_dict()
    assert "offset" not in backbone.state_dict()
    backbone.double()
    assert backbone.network.scale.dtype == backbone.network.offset.dtype == torch.float64


def test_what_is_for_training_is_not_in_the_record():
    options = {"drop_path_rate": 0.1, "drop_rate": 0.1, "in_chans": 1, "img_size": None}
    record = create_backbone("resnet10t", **options).record
    assert record == {
        "model_name": "resnet10t",
        "model_kwargs": {"in_chans": 1, "out_indices": [1, 2, 3, 4]},
    }


def test_activation_checkpointing_reaches_the_blocks_or_is_refused():
    for name in ("pico_pure", "resnet10t"):
        backbone = create_backbone(name)
        backbone.set_grad_checkpointing()
        network = getattr(backbone.network, "model", backbone.network)
        assert network.grad_checkpointing
        backbone.set_grad_checkpointing(False)
        assert not network.grad_checkpointing
    with pytest.raises(UserError, match="test has no activation checkpointing"):
        set_grad_checkpointing(torch.nn.Linear(1, 1), "test")


def test_coarsest_maps_are_taken_where_the_model_leaves_out_the_finest():
    backbone = create_backbone("tresnet_m")
    reductions = timm.create_model("tresnet_m", features_only=True).feature_info.reduction()
    assert backbone.strides == reductions[-4:] == [4, 8, 16, 32]


def test_the_record_of_an_unusual_network_of_ours_builds_it_again():
    backbone = create_backbone(
        "pico_pure", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), img_size=32, stem_stride=2
    )
    record = json.loads(json.dumps(backbone.record))
    again = create_backbone(record["model_name"], **record["model_kwargs"])
    assert again.channels == [8, 16, 24, 32]
    again.load_state_dict(backbone.state_dict())
    x = torch.randn(1, 3, 40, 40)
    backbone.eval()
    again.eval()
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(backbone(x), again(x), strict=True))
