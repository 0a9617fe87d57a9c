"""Weight decay leaves alone what a timm backbone asks for, in every task."""

from typing import Any

import pytest
import timm
from torch import nn

from spanetv2.models.features import create_backbone
from spanetv2.tasks.detection.model import create_detector
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.tasks.segmentation.model import HeadOptions, create_segmenter
from spanetv2.training.config import OptimizerConfig
from spanetv2.training.optimizer import build_optimizer

SWIN = "swin_tiny_patch4_window7_224"
SMALL: dict[str, Any] = {"embed_dim": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 1, 1)}


def decayed(model: nn.Module, **options: Any) -> set[str]:
    optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.1), **options)
    groups = optimizer.param_groups
    inside = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    return {name for name, parameter in model.named_parameters() if id(parameter) in inside}


@pytest.mark.parametrize("scaled", [False, True])
def test_tables_of_a_wrapped_backbone_are_not_decayed(scaled: bool) -> None:
    options = {"lr_scale": lambda _: 0.5} if scaled else {}
    whole = decayed(timm.create_model(SWIN, **SMALL))
    assert not [name for name in whole if name.endswith("bias_table")]
    light = DetectorOptions(fpn_channels=8, box_channels=8, mask_convs=0)
    for model in (
        create_segmenter(SWIN, 3, HeadOptions(name="semantic_fpn", width=8, neck=8), **SMALL),
        create_detector(SWIN, 3, light, **SMALL),
    ):
        tables = [n for n, _ in model.named_parameters() if n.endswith("bias_table")]
        assert len(tables) == 4
        found = decayed(model, **options)
        assert not set(tables) & found
        assert [name for name in found if ".attn.qkv.weight" in name]


def test_a_backbone_passes_on_what_its_network_says() -> None:
    assert create_backbone("pico_pure").no_weight_decay() == set()
    assert create_backbone("test_convnext").no_weight_decay() == set()
    vit = create_backbone("test_vit")
    asked = {"cls_token", "pos_embed", "reg_token"}
    expected = {f"model.{name}" for name in asked}
    assert vit.no_weight_decay() == expected & {name for name, _ in vit.named_parameters()}
    assert len(vit.no_weight_decay()) >= 2
