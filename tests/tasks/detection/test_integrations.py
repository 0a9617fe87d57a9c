"""Detectors of other libraries on our backbones: transformers' DETR and Mask2Former."""

import pytest
import torch

import spanetv2  # noqa: F401 - registers the models with timm

transformers = pytest.importorskip("transformers")


@pytest.fixture
def backbone_config(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return transformers.TimmBackboneConfig(
        backbone="spanetv2_pico_hybrid", out_indices=[0, 1, 2, 3], use_pretrained_backbone=False
    )


def assert_trains(model, loss):
    """The loss is finite and reaches every parameter of the backbone's blocks."""
    assert torch.isfinite(loss)
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if "stages." in n}
    assert len(gradients) > 100
    assert [n for n, g in gradients.items() if g is None or not g.abs().sum() > 0] == []


def test_detr_detects_on_our_backbone(backbone_config):
    torch.manual_seed(0)
    config = transformers.DetrConfig(
        backbone_config=backbone_config,
        use_timm_backbone=False,
        use_pretrained_backbone=False,  # before transformers 5 it is asked here, too
        num_queries=5,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        num_labels=3,
    )
    model = transformers.DetrForObjectDetection(config)
    labels = [
        {"class_labels": torch.tensor([1, 2]), "boxes": torch.tensor([[0.4, 0.5, 0.2, 0.3]] * 2)}
    ]
    output = model(pixel_values=torch.randn(1, 3, 64, 96), labels=labels)
    assert output.logits.shape == (1, 5, 4)
    assert output.pred_boxes.shape == (1, 5, 4)
    assert_trains(model, output.loss)


def test_mask2former_segments_on_our_backbone(backbone_config):
    torch.manual_seed(0)
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone_config,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        encoder_layers=1,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=5,
        num_labels=3,
        train_num_points=64,
    )
    model = transformers.Mask2FormerForUniversalSegmentation(config)
    masks = torch.zeros(2, 64, 96)
    masks[0, 10:40, 10:50] = 1
    masks[1, 30:60, 60:90] = 1
    output = model(
        pixel_values=torch.randn(1, 3, 64, 96),
        mask_labels=[masks],
        class_labels=[torch.tensor([0, 2])],
    )
    assert output.class_queries_logits.shape == (1, 5, 4)
    assert output.masks_queries_logits.shape == (1, 5, 16, 24)
    assert_trains(model, output.loss)
