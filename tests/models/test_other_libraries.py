"""Names and folders of other libraries' networks, and how their images are made."""

import json
from pathlib import Path

import pytest
import torch
import torchvision

from spanetv2.errors import UserError
from spanetv2.models.other_libraries import is_folder, is_other, load_other


def save(folder: Path, processor: dict | None = None, *, classifier: bool = True) -> Path:
    import transformers

    config = transformers.ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=48,
        patch_size=16,
        num_labels=3,
    )
    kind = transformers.ViTForImageClassification if classifier else transformers.ViTModel
    kind(config).save_pretrained(folder)
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def test_a_name_of_torchvision_brings_its_classes_and_preprocessing() -> None:
    name = "torchvision:resnet18"
    assert is_other(name)
    assert not is_folder(name)
    loaded = load_other(name, pretrained=False)
    assert not loaded.model.training
    assert loaded.outputs == 1000
    assert loaded.classes is not None
    assert loaded.classes[0] == "tench"
    shown = torchvision.models.ResNet18_Weights.DEFAULT.transforms()
    assert loaded.preprocessing.input_size == (3, *shown.crop_size * 2)
    assert loaded.preprocessing.mean == tuple(shown.mean)
    assert loaded.preprocessing.crop_pct == 224 / 256
    assert loaded.preprocessing.interpolation == "bilinear"


@pytest.mark.parametrize(
    ("record", "size", "crop_pct", "crop_mode"),
    [
        (None, (48, 48), 1.0, "squash"),
        ({"size": {"height": 32, "width": 64}}, (32, 64), 1.0, "squash"),
        ({"size": 40}, (40, 40), 1.0, "squash"),
        ({"size": {"shortest_edge": 40}}, (40, 40), 1.0, "center"),
        (
            {"size": {"shortest_edge": 64}, "do_center_crop": True, "crop_size": 48},
            *((48, 48), 0.75, "center"),
        ),
    ],
)
def test_a_folder_of_transformers_says_how_images_are_made(
    record: dict | None, size: tuple, crop_pct: float, crop_mode: str, tmp_path: Path
) -> None:
    folder = save(tmp_path / "net", None if record is None else {**record, "resample": 2})
    assert is_other(str(folder))
    assert is_folder(f"hf-dir:{folder}")
    loaded = load_other(str(folder), pretrained=True)
    assert loaded.preprocessing.input_size == (3, *size)
    assert loaded.preprocessing.crop_pct == crop_pct
    assert loaded.preprocessing.crop_mode == crop_mode
    assert loaded.preprocessing.interpolation == ("bicubic" if record is None else "bilinear")
    assert loaded.outputs == 3
    assert loaded.classes is None  # LABEL_0 and so on are no names
    with torch.no_grad():
        assert loaded.model(torch.randn(1, 3, 48, 48)).logits.shape == (1, 3)


def test_images_that_are_not_normalised_stay_so(tmp_path: Path) -> None:
    loaded = load_other(f"hf-dir:{save(tmp_path, {'do_normalize': False})}", pretrained=True)
    assert loaded.preprocessing.mean == (0, 0, 0)
    assert loaded.preprocessing.std == (1, 1, 1)


def test_a_network_without_a_classifier_has_no_outputs(tmp_path: Path) -> None:
    assert load_other(str(save(tmp_path, classifier=False)), pretrained=True).outputs == 0


def test_bad_names_and_folders_are_one_clear_line(tmp_path: Path) -> None:
    folder = save(tmp_path / "net")
    (folder / "model.safetensors").write_bytes(b"")
    for name, words in {
        "torchvision:vit_b_61": "did you mean torchvision:vit_b_16",
        "torchvision:fcn_resnet50": "expected a classifier of torchvision",
        "hf-dir:nowhere": "expected a folder that save_pretrained wrote",
        f"hf-dir:{tmp_path}": "no config.json names a model_type",
        str(folder): "cannot be loaded by transformers",
    }.items():
        with pytest.raises(UserError) as raised:
            load_other(name, pretrained=False)
        assert words in str(raised.value)
        assert "\n" not in str(raised.value)
