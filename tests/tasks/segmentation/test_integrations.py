"""Our backbones in other libraries' segmentation models: they need only be registered."""

import pytest
import torch

import spanetv2

SIZE = (64, 96)


@pytest.mark.parametrize("kind", ["FPN", "UPerNet", "Unet"])
def test_segmentation_models_pytorch_takes_our_backbone(kind):
    smp = pytest.importorskip("segmentation_models_pytorch")
    torch.manual_seed(0)
    options = {"decoder_channels": (64, 48, 32, 24, 16)} if kind == "Unet" else {}
    options = {"decoder_channels": 32} if kind == "UPerNet" else options
    model = getattr(smp, kind)(
        "tu-spanetv2_s18_pure", encoder_weights=None, classes=3, **options
    ).train()
    scores = model(torch.randn(2, 3, *SIZE))
    assert scores.shape == (2, 3, *SIZE)
    scores.square().mean().backward()
    parameters = dict(model.encoder.model.named_parameters())
    assert any(name.endswith("spectral.theta") for name in parameters)
    without = [n for n, p in parameters.items() if p.grad is None or not p.grad.any()]
    assert not without
    assert all(bool(p.grad.isfinite().all()) for p in parameters.values())


def test_segmentation_models_pytorch_sees_the_maps_we_give():
    smp = pytest.importorskip("segmentation_models_pytorch")
    model = smp.UPerNet("tu-spanetv2_s18_pure", encoder_weights=None, classes=3).eval()
    ours = spanetv2.create_model("s18_pure", features_only=True).eval()
    ours.load_state_dict(model.encoder.model.state_dict())
    x = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        maps = [m for m in model.encoder(x)[2:] if m.shape[1]]
        for got, expected in zip(maps[-4:], ours(x), strict=True):
            assert expected.std() > 0
            torch.testing.assert_close(got, expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_transformers_upernet_takes_our_backbone():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    backbone = transformers.TimmBackboneConfig(
        backbone="spanetv2_pico_pure", out_indices=[0, 1, 2, 3]
    )
    config = transformers.UperNetConfig(
        backbone_config=backbone, hidden_size=16, auxiliary_channels=8, num_labels=3
    )
    model = transformers.UperNetForSemanticSegmentation(config).train()
    labels = torch.randint(0, 3, (2, *SIZE))
    labels[:, :5] = 255
    output = model(torch.randn(2, 3, *SIZE), labels=labels)
    assert output.logits.shape == (2, 3, *SIZE)
    output.loss.backward()
    parameters = dict(model.backbone.named_parameters())
    assert any(name.endswith("spectral.theta") for name in parameters)
    without = [n for n, p in parameters.items() if p.grad is None or not p.grad.any()]
    assert not without
