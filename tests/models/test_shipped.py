"""The weights in the package: what they are called, what they hold, and every way to ask for one.

What they reach is tested beside their tasks.
"""

import hashlib
import re
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

import spanetv2
from spanetv2 import UserError
from spanetv2.models.weights import read_checkpoint, shipped_weights

LARGEST = 6_000_000  # bytes
SHIPPED = shipped_weights()
CLASSIFIERS = [name for name, found in SHIPPED.items() if found.task == "classification"]
DENSE = [name for name, found in SHIPPED.items() if found.task != "classification"]
PURE = "spanetv2_pico_pure.fashion_mnist"


def images(channels: int = 1, side: int = 28) -> torch.Tensor:
    return torch.randn(4, channels, side, side, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def answers(model: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    return model.eval()(x)


def test_these_are_in_the_package() -> None:
    assert {name: found.task for name, found in SHIPPED.items()} == {
        "spanetv2_pico_hybrid.fashion_mnist": "classification",
        "spanetv2_pico_pure.fashion_mnist": "classification",
        "spanetv2_pico_pure.scenes_mask_rcnn": "detection",
        "spanetv2_pico_pure.scenes_semantic_fpn": "segmentation",
    }


@pytest.mark.parametrize("name", SHIPPED)
def test_files_are_small_and_of_half_precision(name: str) -> None:
    found = SHIPPED[name]
    assert found.path.stat().st_size <= LARGEST
    stored = load_file(found.path)
    assert {v.dtype for v in stored.values() if v.is_floating_point()} == {torch.float16}
    read = read_checkpoint(name)
    assert read.path == found.path
    assert read.task == found.task
    assert read.state_dict.keys() == stored.keys()
    for key, value in read.state_dict.items():
        assert value.dtype != torch.float16, key
        assert value.isfinite().all(), key
        assert torch.equal(value, stored[key].to(value.dtype)), key


@pytest.mark.parametrize("name", SHIPPED)
def test_cards_are_about_these_files(name: str) -> None:
    found = SHIPPED[name]
    text = found.card.read_text(encoding="utf-8")
    assert text.startswith(f"# {name}\n")
    assert hashlib.sha256(found.path.read_bytes()).hexdigest() in text
    assert found.record["extra"]["summary"] in text
    assert found.record["extra"]["commit"] in text
    assert re.search(r"\n## Limits\n\n\w", text)
    for row in ("data", "training", "commit", "licence"):
        assert f"\n| {row} | " in text


def test_timm_lists_the_classifiers() -> None:
    assert set(timm.list_pretrained("spanetv2*")) == set(CLASSIFIERS)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_way_gives_the_same_model(name: str) -> None:
    ours, checkpoint = spanetv2.load_model(name)
    expected = answers(ours, images())
    assert checkpoint.classes is not None
    assert len(checkpoint.classes) == expected.shape[1] == 10
    short = name.removeprefix("spanetv2_")
    variant = name.partition(".")[0]
    for model in (
        timm.create_model(name, pretrained=True),
        spanetv2.create_model(name, pretrained=True),
        spanetv2.create_model(short, pretrained=True),
        spanetv2.create_model(variant, name),
        timm.create_model(variant, pretrained=True),  # the first tag
    ):
        assert next(model.parameters()).dtype == torch.float32
        assert torch.equal(answers(model, images()), expected)


def test_timm_is_told_how_to_show_images() -> None:
    model = timm.create_model(PURE, pretrained=True)
    config = timm.data.resolve_model_data_config(model)
    assert config["input_size"] == (1, 28, 28)
    assert config["mean"] == (0.286,)
    assert config["std"] == (0.353,)
    told = timm.get_pretrained_cfg(PURE)
    assert told.label_names is not None
    assert told.label_names[-1] == "Ankle boot"
    assert model.forward_features(images()).shape[-2:] == told.pool_size
    assert Path(told.file).is_file()


def test_a_tag_alone_gives_the_architecture_untrained() -> None:
    torch.manual_seed(0)
    model = timm.create_model(PURE)
    trained = answers(timm.create_model(PURE, pretrained=True), images())
    assert answers(model, images()).shape == trained.shape
    assert not torch.allclose(answers(model, images()), trained, atol=0.1)


def test_the_untagged_name_is_still_the_architecture_for_1000_classes() -> None:
    model = timm.create_model("spanetv2_pico_pure")
    assert (model.num_classes, model.in_chans, model.stem_stride) == (1000, 3, 4)
    assert timm.get_pretrained_cfg("spanetv2_pico_pure").input_size == (3, 224, 224)
    with pytest.raises(RuntimeError, match="No pretrained weights exist for spanetv2_s18_pure"):
        timm.create_model("spanetv2_s18_pure", pretrained=True)


def test_other_files_are_still_taken_for_the_untagged_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved = spanetv2.create_model("pico_pure", num_classes=3, img_size=64)
    spanetv2.save_weights(saved, tmp_path / "mine.safetensors")
    model = timm.create_model(
        "spanetv2_pico_pure",
        pretrained=True,
        pretrained_cfg_overlay={"file": str(tmp_path / "mine.safetensors"), "num_classes": 3},
        img_size=64,
    )
    assert torch.equal(answers(model, images(3, 64)), answers(saved, images(3, 64)))


def test_they_start_other_models() -> None:
    trained = timm.create_model(PURE, pretrained=True)
    other = timm.create_model(PURE, pretrained=True, num_classes=3, img_size=56)
    assert answers(other, images(1, 56)).shape == (4, 3)
    assert torch.equal(other.stem.conv.weight, trained.stem.conv.weight)
    assert torch.equal(other.head.fc.fc1.weight, trained.head.fc.fc1.weight)
    # grey images in three channels mean the same
    colour = timm.create_model(PURE, pretrained=True, in_chans=3)
    expected = answers(trained, images())
    torch.testing.assert_close(
        answers(colour, images().expand(4, 3, 28, 28)), expected, atol=1e-4, rtol=1e-4
    )
    maps = timm.create_model(PURE, pretrained=True, features_only=True)
    assert [m.shape[1:] for m in maps(images())] == [
        (24, 14, 14),
        (48, 7, 7),
        (96, 4, 4),
        (128, 2, 2),
    ]
    assert torch.equal(maps.model.stem.conv.weight, trained.stem.conv.weight)


def test_timm_saves_and_reads_them(tmp_path: Path) -> None:
    model = timm.create_model(PURE, pretrained=True)
    timm.models.save_for_hf(model, tmp_path / "saved")
    again = timm.create_model(f"local-dir:{tmp_path / 'saved'}", pretrained=True)
    assert torch.equal(answers(again, images()), answers(model, images()))


def test_names_that_are_not_there_are_one_line_with_those_that_are() -> None:
    every = ", ".join(SHIPPED)
    for ask in (
        spanetv2.load_model,
        read_checkpoint,
        spanetv2.create_model,
        spanetv2.load_weights.__get__(torch.nn.Identity()),
    ):
        with pytest.raises(UserError, match=re.escape(every)) as caught:
            ask("spanetv2_pico_pure.cifar")
        assert "\n" not in str(caught.value)
        assert "got spanetv2_pico_pure.cifar" in str(caught.value)


def test_files_come_before_names_and_keep_their_own_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"spanetv2_pico_pure.pth: no such file"):
        read_checkpoint("spanetv2_pico_pure.pth")
    model = spanetv2.create_model("pico_hybrid", num_classes=2, img_size=32)
    folder = tmp_path / PURE  # a run of that name
    folder.mkdir()
    spanetv2.save_weights(model, folder / "weights.safetensors")
    assert read_checkpoint(PURE).model_name == "spanetv2_pico_hybrid"


@pytest.mark.parametrize("name", DENSE)
def test_dense_models_are_not_taken_for_classifiers(name: str) -> None:
    with pytest.raises(UserError, match=f"{SHIPPED[name].task} model, expected a classifier"):
        spanetv2.create_model(name, pretrained=True)
    with pytest.raises(UserError, match=f"{SHIPPED[name].task} model, expected a classifier"):
        spanetv2.load_model(name)


def test_weights_are_not_taken_for_models() -> None:
    from spanetv2.models.factory import resolve_name

    with pytest.raises(UserError, match=f"give spanetv2_pico_pure, and {PURE} where weights"):
        resolve_name("pico_pure.fashion_mnist")
    with pytest.raises(UserError, match="expected spanetv2_pico_pure for the latter"):
        spanetv2.create_model(PURE, "mine.pth")


def test_the_guide_lists_every_file_with_its_figures() -> None:
    text = (Path(__file__).parents[2] / "docs" / "weights.md").read_text(encoding="utf-8")
    for name, found in SHIPPED.items():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"| {found.task} |" in row
        assert found.record["extra"]["summary"] in row
        assert f"{found.path.stat().st_size / 1e6:.1f} MB" in row
