"""Records of weights files are data: whatever one says, nothing but the file itself is believed."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile_weights import RECORDS, rewrite
from safetensors.torch import load_file, save_file

import spanetv2
from spanetv2 import UserError, create_model, load_model, load_weights, save_weights
from spanetv2.models.weights import read_checkpoint, shipped_weights
from spanetv2.models.weights.record import check_model_options, check_record, parse_record
from spanetv2.tasks.detection.weights import category_ids, load_detector
from spanetv2.tasks.segmentation.measure import recorded_inference, recorded_palette
from spanetv2.tasks.segmentation.weights import load_segmenter

CLASSIFIER, SEGMENTER, DETECTOR = (
    "spanetv2_pico_pure.fashion_mnist",
    "spanetv2_pico_pure.scenes_semantic_fpn",
    "spanetv2_pico_pure.scenes_mask_rcnn",
)
LOADERS: dict[str, Callable[[Path], Any]] = {
    CLASSIFIER: load_model,
    SEGMENTER: lambda path: (
        load_segmenter(path),
        recorded_palette(read_checkpoint(path)),
        recorded_inference(read_checkpoint(path)),
    ),
    DETECTOR: lambda path: (load_detector(path), category_ids(read_checkpoint(path))),
}


@pytest.mark.parametrize("name", LOADERS)
def test_what_the_package_ships_is_believed(name: str, tmp_path: Path) -> None:
    weights = shipped_weights()[name]
    assert check_record(weights.record) == weights.record
    LOADERS[name](rewrite(name, tmp_path / "same.safetensors", json.dumps(weights.record)))


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_that_is_wrong_is_refused_by_one_line(kind: str, tmp_path: Path) -> None:
    task, record, message = RECORDS[kind]
    name = {"c": CLASSIFIER, "s": SEGMENTER, "d": DETECTOR}[task]
    path = rewrite(name, tmp_path / "w.safetensors", record)
    with pytest.raises(UserError, match=message) as caught:
        LOADERS[name](path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    assert not re.search(r"[a-z](Error|Exception)\b", text)


def test_a_record_in_a_pytorch_file_is_held_against_the_same_schema(tmp_path: Path) -> None:
    state = create_model("pico_pure", num_classes=2, img_size=32).state_dict()
    record = {"model_name": "spanetv2_pico_pure", "model_kwargs": {"pretrained_cfg": {"url": "x"}}}
    torch.save({**state, "spanetv2": json.dumps(record)}, tmp_path / "w.pth")
    with pytest.raises(UserError, match="model_kwargs has 'pretrained_cfg'"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize(
    "option",
    [
        *("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path"),
        *("cache_dir", "url", "file", "hf_hub_id", "source", "state_dict", "pruned"),
    ],
)
def test_no_option_of_timms_networks_names_a_source(option: str) -> None:
    with pytest.raises(UserError, match=f"model_kwargs has '{option}'"):
        check_model_options("resnet18", {option: "x"})


@pytest.mark.parametrize(
    "options",
    [
        {"drop_path_rate": 0.1, "global_pool": "avg", "img_size": [224, 224], "act_layer": "relu"},
        {"num_classes": 21843, "in_chans": 3, "embed_dim": 96, "qkv_bias": False},
    ],
)
def test_options_that_shape_timms_networks_are_taken(options: dict[str, Any]) -> None:
    check_model_options("swin_tiny_patch4_window7_224", options)


def test_a_timm_network_is_saved_and_loaded_as_ever(tmp_path: Path) -> None:
    model = create_model("test_resnet", num_classes=3)
    save_weights(model, tmp_path / "w.safetensors", classes=["a", "b", "c"])
    loaded, checkpoint = load_model(tmp_path / "w.safetensors")
    assert checkpoint.classes == ["a", "b", "c"]
    expected = model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in loaded.state_dict().items())


def test_what_cannot_be_read_is_not_written(tmp_path: Path) -> None:
    model = create_model("pico_pure", num_classes=2, img_size=32)
    with pytest.raises(UserError, match=r"classes is .*, expected a list, each a text"):
        save_weights(model, tmp_path / "w.safetensors", classes=[1, 2])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", LOADERS)
def test_weights_that_are_not_finite_are_refused_by_every_loader(
    name: str, value: float, tmp_path: Path
) -> None:
    path = rewrite(name, tmp_path / "w.safetensors", json.dumps(shipped_weights()[name].record))
    state = load_file(path)
    first = next(key for key, tensor in state.items() if tensor.is_floating_point())
    state[first].view(-1)[0] = value
    record = json.dumps(shipped_weights()[name].record)
    save_file(state, path, metadata={"spanetv2": record})
    with pytest.raises(UserError, match=f"NaN or infinite: .*{re.escape(first)}"):
        LOADERS[name](path)


def test_weights_that_are_not_finite_leave_a_model_as_it_was() -> None:
    model = create_model("pico_pure", num_classes=2, img_size=32)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = {name: torch.full_like(value, torch.nan) for name, value in before.items()}
    with pytest.raises(UserError, match="NaN or infinite"):
        load_weights(model, state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda value: value.to_sparse(), "is sparse"),
        (lambda value: value.to("meta"), "without values"),
        (lambda value: value[:1, :1, :1, :1].expand(2**20, 2**20, 2, 2), "more than the file"),
    ],
)
def test_tensors_that_are_no_plain_numbers_are_refused(
    make: Callable[[torch.Tensor], torch.Tensor], message: str, tmp_path: Path
) -> None:
    state = create_model("pico_pure", num_classes=2, img_size=32).state_dict()
    state["stem.conv.weight"] = make(state["stem.conv.weight"])
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(UserError, match=f"the tensor stem.conv.weight .*{message}"):
        spanetv2.load_model(tmp_path / "w.pth")


def test_a_record_has_a_size_and_a_depth() -> None:
    for text in ("[" * 100_000, '{"extra": ' * 2000, '{"a": "' + "x" * 2**25 + '"}'):
        with pytest.raises(UserError, match="its record is wrong"):
            parse_record(text)
