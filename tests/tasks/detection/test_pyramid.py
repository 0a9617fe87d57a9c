import pytest
import torch

import spanetv2
from spanetv2.errors import UserError
from spanetv2.models.features import create_backbone
from spanetv2.tasks.detection.pyramid import Pyramid

SWIN = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1), "window_size": 2}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("pico_hybrid", {"img_size": 64}),
        ("resnet10t", {}),  # five levels, of which the last four are taken
        ("swin_tiny_patch4_window7_224", {"img_size": 64, **SWIN}),  # channels last
    ],
)
def test_a_pyramid_has_five_levels_of_one_width(name, options):
    backbone = create_backbone(name, **options)
    pyramid = Pyramid(backbone, 8).eval()
    assert pyramid.strides == [4, 8, 16, 32]
    with torch.no_grad():
        maps = pyramid(torch.randn(2, 3, 64, 64))
    shapes = {level: tuple(x.shape) for level, x in maps.items()}
    assert shapes == {
        "0": (2, 8, 16, 16),
        "1": (2, 8, 8, 8),
        "2": (2, 8, 4, 4),
        "3": (2, 8, 2, 2),
        "pool": (2, 8, 1, 1),
    }
    again = create_backbone(backbone.name, **backbone.record["model_kwargs"])
    assert again.state_dict().keys() == backbone.state_dict().keys()


def test_a_channels_last_backbone_is_turned_not_reshaped():
    backbone = create_backbone("swin_tiny_patch4_window7_224", img_size=64, **SWIN)
    pyramid = Pyramid(backbone, 8).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        turned = backbone.network.eval()(image)[3].permute(0, 3, 1, 2)
        expected = pyramid.fpn.layer_blocks[3](pyramid.fpn.inner_blocks[3](turned))
        torch.testing.assert_close(pyramid(image)["3"], expected)


def test_the_pyramid_of_the_paper_has_2_6_million_parameters():
    with torch.device("meta"):
        backbone = create_backbone("s18_pure")
        pyramid = Pyramid(backbone)
    assert sum(p.numel() for p in pyramid.fpn.parameters()) == 2_623_488


def test_a_backbone_starts_from_a_classifier(tmp_path):
    model = spanetv2.create_model("pico_pure", num_classes=5, img_size=64, gate="scaled_sigmoid")
    spanetv2.save_weights(model, tmp_path / "weights.safetensors")
    backbone = create_backbone("pico_pure", tmp_path / "weights.safetensors")
    assert backbone.record["model_kwargs"]["gate"] == "scaled_sigmoid"
    assert backbone.record["model_kwargs"]["img_size"] == [64, 64]
    for name, value in model.state_dict().items():
        if name.startswith(("stem.", "stages.")):
            assert torch.equal(backbone.state_dict()[f"model.{name}"], value), name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_tiny_patch16_224", "strides"),
        ("s18_purr", "did you mean"),
    ],
)
def test_a_backbone_without_four_levels_is_refused(name, message):
    with pytest.raises(UserError, match=message):
        Pyramid(create_backbone(name))
