"""How a checkpoint's images are made, and what a loaded model says of itself to timm."""

import json
import logging

import pytest
import timm
import torch
from timm.data import create_transform, resolve_model_data_config
from timm.models import save_for_hf

from spanetv2 import create_model, load_model, load_weights, save_weights
from spanetv2.data.preprocessing import Preprocessing, eval_transform
from spanetv2.errors import UserError
from spanetv2.models.weights import image_preprocessing, read_checkpoint
from spanetv2.models.weights.save import save_state_dict

SHIPPED = "spanetv2_pico_pure.fashion_mnist"
SETTINGS = Preprocessing(
    input_size=(1, 24, 24), mean=(0.3,), std=(0.2,), interpolation="bilinear", crop_pct=0.9
)


def tiny(**options) -> torch.nn.Module:
    torch.manual_seed(0)
    options = {"num_classes": 3, "img_size": 16, "stem_stride": 1} | options
    return create_model("pico_pure", **options).eval()


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.WARNING, logger="spanetv2")
    return lambda: [record.getMessage() for record in caplog.records]


def settle(path) -> Preprocessing:
    model, checkpoint = load_model(path)
    return image_preprocessing(model, checkpoint)


def test_image_preprocessing_is_the_record_without_a_word(tmp_path, said):
    path = tmp_path / "w.safetensors"
    save_weights(tiny(in_chans=1), path, preprocessing=SETTINGS.to_dict())
    assert settle(path) == SETTINGS
    assert said() == []


def test_image_preprocessing_takes_size_and_channels_of_the_network_and_says_it_once(
    tmp_path, said
):
    save_weights(tiny(in_chans=1), tmp_path / "w.safetensors")
    torch.save(tiny(in_chans=1).state_dict(), tmp_path / "bare.pth")
    for name in ("w.safetensors", "bare.pth"):
        found = settle(tmp_path / name)
        assert found.input_size == (1, 16, 16)
        assert found.mean == (pytest.approx(0.449),)
        (line,) = said()[-1:]
        assert line.startswith(f"{tmp_path / name}: does not record how its images are made")
        assert "input_size 1 x 16 x 16, mean 0.449, std 0.226, interpolation bicubic" in line
    assert len(said()) == 2


def test_image_preprocessing_fills_a_record_of_parts_and_names_the_rest(tmp_path, said):
    path = tmp_path / "w.safetensors"
    save_weights(tiny(), path, preprocessing={"mean": [0.5] * 3, "std": [0.25] * 3})
    assert settle(path) == Preprocessing(
        input_size=(3, 16, 16), mean=(0.5,) * 3, std=(0.25,) * 3, crop_pct=1.0
    )
    (line,) = said()
    assert "input_size 3 x 16 x 16, interpolation bicubic" in line
    assert "mean" not in line


def test_image_preprocessing_refuses_a_record_of_other_channels(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(tiny(), path, preprocessing=SETTINGS.to_dict())
    with pytest.raises(UserError, match="for 1 channels in a checkpoint of a model with 3"):
        settle(path)


def test_weights_of_a_tag_keep_its_record(tmp_path, said):
    model = timm.create_model(SHIPPED, pretrained=True)
    recorded = Preprocessing.from_dict(read_checkpoint(SHIPPED).preprocessing or {})
    save_weights(model, tmp_path / "w.safetensors")
    torch.save(model.state_dict(), tmp_path / "bare.pth")
    # as versions wrote it that recorded nothing of their own accord
    save_state_dict(
        model.state_dict(),
        tmp_path / "old.safetensors",
        {"model_name": "spanetv2_pico_pure", "model_kwargs": {"num_classes": 10, "in_chans": 1}},
    )
    for name in ("w.safetensors", "bare.pth", "old.safetensors"):
        assert settle(tmp_path / name) == recorded
    assert read_checkpoint(tmp_path / "bare.pth").classes == read_checkpoint(SHIPPED).classes
    with torch.no_grad():
        next(model.parameters()).mul_(1.01)  # trained on: the tag is still what is known of it
    save_weights(model, tmp_path / "tuned.safetensors")
    assert settle(tmp_path / "tuned.safetensors") == recorded
    assert said() == []


def test_weights_of_a_tag_with_other_channels_repeat_its_statistics(tmp_path):
    model = timm.create_model(SHIPPED, pretrained=True, in_chans=3)
    save_weights(model, tmp_path / "w.safetensors")
    found = settle(tmp_path / "w.safetensors")
    assert found.input_size == (3, 28, 28)
    assert found.mean == (found.mean[0],) * 3


def test_saving_a_loaded_model_again_keeps_what_its_file_recorded(tmp_path, said):
    usual = Preprocessing(input_size=(3, 32, 32))  # timm's own statistics, another size
    save_weights(tiny(), tmp_path / "a.safetensors", preprocessing=usual.to_dict())
    save_weights(load_model(tmp_path / "a.safetensors")[0], tmp_path / "b.safetensors")
    assert settle(tmp_path / "b.safetensors") == usual
    assert said() == []
    # what was assumed does not become a record
    save_weights(tiny(in_chans=1), tmp_path / "c.safetensors")
    save_weights(load_model(tmp_path / "c.safetensors")[0], tmp_path / "d.safetensors")
    assert read_checkpoint(tmp_path / "d.safetensors").preprocessing is None


def test_timm_models_keep_their_image_size(tmp_path, said):
    torch.manual_seed(0)
    model = timm.create_model("test_vit", img_size=(64, 96), num_classes=3, in_chans=1)
    save_weights(model, tmp_path / "w.safetensors")
    assert settle(tmp_path / "w.safetensors").input_size == (1, 64, 96)
    assert "input_size 1 x 64 x 96" in said()[0]


def test_a_loaded_model_describes_itself_to_timm(tmp_path):
    path = tmp_path / "w.safetensors"
    names = ["one", "two", "three"]
    save_weights(tiny(in_chans=1), path, classes=names, preprocessing=SETTINGS.to_dict())
    image = torch.rand(40, 30).mul(255).byte().numpy()
    from PIL import Image

    pixels = Image.fromarray(image)
    for model in (load_model(path)[0], create_model("pico_pure", path)):
        config = resolve_model_data_config(model)
        assert Preprocessing(**config) == SETTINGS
        torch.testing.assert_close(
            create_transform(**config)(pixels), eval_transform(SETTINGS)(pixels)
        )
        assert getattr(model, "pretrained_cfg")["label_names"] == tuple(names)  # noqa: B009
        save_for_hf(model, tmp_path / "hub")
        written = json.loads((tmp_path / "hub" / "config.json").read_text())
        assert written["pretrained_cfg"]["input_size"] == [1, 24, 24]
        assert written["pretrained_cfg"]["label_names"] == names
        assert written["num_classes"] == 3


def test_a_model_with_other_classes_and_size_takes_no_names_from_the_file(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(tiny(), path, classes=["a", "b", "c"], preprocessing={"input_size": [3, 24, 24]})
    model = create_model("pico_pure", path, num_classes=5, img_size=32, in_chans=1)
    assert resolve_model_data_config(model)["input_size"] == (1, 32, 32)
    assert "label_names" not in getattr(model, "pretrained_cfg")  # noqa: B009


@pytest.mark.parametrize("key", ["state_dict_ema", "model_ema"])
def test_averaged_weights_are_taken_as_timm_takes_them(tmp_path, said, key):
    last, averaged = tiny().state_dict(), tiny(num_classes=3).state_dict()
    averaged = {name: value + 1 for name, value in averaged.items()}
    content = {"arch": "spanetv2_pico_pure", "state_dict": last, "model": last, key: averaged}
    path = tmp_path / "last.pth.tar"
    torch.save(content, path)
    by_timm = timm.create_model(
        "spanetv2_pico_pure", num_classes=3, img_size=16, stem_stride=1, checkpoint_path=str(path)
    )
    ours, _ = load_model(path)
    for name, value in by_timm.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)
        assert torch.equal(value, averaged[name])
    assert said() == [f"{path}: the averaged weights ({key}) are taken, as timm does"]
    report = load_weights(tiny(), content)
    assert report.messages == [f"the averaged weights ({key}) are taken, as timm does"]


def test_an_empty_average_is_none(tmp_path, said):
    torch.save({"state_dict": tiny().state_dict(), "state_dict_ema": None}, tmp_path / "w.pth")
    load_model(tmp_path / "w.pth")
    assert said() == []


@pytest.mark.parametrize("prefix", ["encoder.model.", "model.backbone._backbone.", "a.b.c.d.e."])
def test_a_common_prefix_of_any_length_is_found(tmp_path, prefix):
    model = tiny()
    state = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save({"decoder.stem.conv.weight": torch.zeros(3), **state}, tmp_path / "w.pth")
    loaded, _ = load_model(tmp_path / "w.pth")
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    other = timm.create_model("test_resnet", num_classes=3)
    torch.save({prefix + k: v for k, v in other.state_dict().items()}, tmp_path / "o.pth")
    found = create_model("test_resnet", tmp_path / "o.pth", num_classes=3)
    for name, value in other.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)


def test_several_networks_in_a_file_are_refused(tmp_path):
    state = tiny().state_dict()
    both = {f"{who}.{k}": v for who in ("student", "teacher") for k, v in state.items()}
    torch.save(both, tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"got 2 networks .*student\., teacher\.\), expected one"):
        load_model(tmp_path / "w.pth")
