"""Class activation maps lie where the class is, in every layout."""

import builtins

import numpy as np
import pytest
import timm
import torch
from torch import nn

from spanetv2.analysis.activation_maps import class_activation_maps, map_to_explain
from spanetv2.analysis.mixers import find_mixers, record_calls
from spanetv2.errors import UserError

pytest.importorskip("pytorch_grad_cam")


class Blob(nn.Module):
    """Class 1 is how bright the image is; its one block is a depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(2, 2, 3, padding=1, groups=2, bias=False))
        nn.init.constant_(self.block[0].weight, 1 / 9)
        self.head = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[-1.0, -1.0], [1.0, 1.0]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(x).mean((2, 3)))


@pytest.mark.parametrize("method", ["grad_cam", "score_cam"])
def test_map_lies_on_the_class(method: str) -> None:
    images = torch.zeros(2, 2, 16, 16)
    images[0, :, 2:6, 2:6] = 1
    images[1, :, 10:14, 8:12] = 1
    model = Blob().eval()
    calls, _ = record_calls(model, find_mixers(model), images)
    done = []
    maps, explained = class_activation_maps(
        model, calls, images, method=method, batch_size=1, advance=done.append
    )
    assert explained.tolist() == [1, 1]
    assert done == [1, 1]
    assert maps.shape == (2, 16, 16)
    assert maps.min() >= 0
    for image, found in zip(images, maps, strict=True):
        inside = image[0].bool().numpy()
        assert found[inside].mean() > 0.6
        assert found[~inside].mean() < 0.1


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("spanetv2_pico_pure", {"img_size": 64}),
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2}),
        ("swin_tiny_patch4_window7_224", {"img_size": 56, "depths": (1, 1), "num_heads": (1, 2)}),
        ("convnext_atto", {}),
    ],
)
def test_every_layout_gives_maps_of_the_images_size(name: str, options: dict) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=5, **options).eval()
    nn.init.normal_(
        model.get_classifier().weight
        if hasattr(model.get_classifier(), "weight")
        else list(model.get_classifier().parameters())[-2]
    )
    side = options.get("img_size", 64)
    images = torch.randn(2, 3, side, side)
    calls, _ = record_calls(model, find_mixers(model), images)
    maps, explained = class_activation_maps(model, calls, images, torch.tensor([3, 1]))
    assert maps.shape == (2, side, side)
    assert explained.tolist() == [3, 1]
    assert np.isfinite(maps).all()
    assert maps.std(axis=(1, 2)).max() > 0.05
    other, _ = class_activation_maps(model, calls, images, torch.tensor([0, 2]))
    assert np.abs(other - maps).max() > 0.05


def test_maps_too_small_to_show_a_place_are_not_explained() -> None:
    model = timm.create_model("spanetv2_pico_pure", img_size=32).eval()
    calls, _ = record_calls(model, find_mixers(model), torch.randn(1, 3, 32, 32))
    assert [call.grid[0] for call in calls] == [8] * 2 + [4] * 2 + [2] * 4 + [1]
    assert map_to_explain(calls).mixer.block == "stages.1.blocks.1"
    with pytest.raises(UserError, match="no map of at least 4 x 4 tokens"):
        map_to_explain(calls[4:])


def test_bad_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(1, 2, 8, 8)
    model = Blob().eval()
    calls, _ = record_calls(model, find_mixers(model), images)
    with pytest.raises(UserError, match="got method 'cam'"):
        class_activation_maps(model, calls, images, method="cam")
    with pytest.raises(UserError, match="got 0 images"):
        class_activation_maps(model, calls, images[:0])
    real = builtins.__import__

    def missing(name: str, *args, **kwargs):
        if name.startswith("pytorch_grad_cam"):
            raise ImportError("no such module")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UserError, match=r"spanetv2\[analysis\]"):
        class_activation_maps(model, calls, images)
