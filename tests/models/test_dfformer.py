"""DFFormer's networks: timm's ConvFormer but for the mixers."""

import pytest
import timm
import torch

from spanetv2 import UserError
from spanetv2.mixers import DynamicFilter
from spanetv2.models.dfformer import DFFORMERS
from spanetv2.models.features import create_backbone


def without_mixers(model: torch.nn.Module) -> dict[str, torch.Size]:
    state = model.state_dict().items()
    return {name: value.shape for name, value in state if ".token_mixer." not in name}


@pytest.mark.parametrize("name", DFFORMERS)
def test_all_but_the_mixers_is_convformer(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
        peer = timm.create_model(name.replace("dfformer", "convformer"))
    assert without_mixers(model) == without_mixers(peer)
    mixers = [m for m in model.modules() if isinstance(m, DynamicFilter)]
    grids = zip((56, 28, 14, 7), DFFORMERS[name][0], strict=True)
    assert [m.bases.shape[2] for m in mixers] == [side for side, n in grids for _ in range(n)]


def small(**options: object) -> torch.nn.Module:
    torch.manual_seed(0)
    depths, dims = (1, 1, 1, 1), (8, 16, 24, 32)
    return timm.create_model("dfformer_s18", depths=depths, dims=dims, num_classes=5, **options)


def test_learns_in_every_parameter() -> None:
    model = small(img_size=64)
    model(torch.randn(2, 3, 64, 64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_takes_images_of_other_sizes_and_is_a_backbone() -> None:
    model = small(img_size=64).eval()
    assert model(torch.randn(1, 3, 90, 75)).shape == (1, 5)
    backbone = create_backbone("dfformer_s18")
    assert backbone.strides == [4, 8, 16, 32]
    assert [x.shape[1] for x in backbone(torch.randn(1, 3, 64, 64))] == [64, 128, 320, 512]


def test_refuses_images_without_tokens() -> None:
    with pytest.raises(UserError, match="got img_size=2, expected 3 pixels or more"):
        small(img_size=2)
