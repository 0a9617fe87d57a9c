"""Checkpoints: every form that is recognised, and every way in which one can be wrong."""

import argparse
import json
import logging
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import spanetv2
from spanetv2 import UserError, create_model, load_model, load_weights, save_weights
from spanetv2.models.weights import describe, read_checkpoint, to_native

OPTIONS = {"num_classes": 5, "img_size": 64}
NAMES = ["spanetv2_pico_pure", "spanetv2_pico_hybrid"]


def randomized(name: str = "spanetv2_pico_hybrid", **options) -> torch.nn.Module:
    torch.manual_seed(3)
    model = create_model(name, **{**OPTIONS, **options}).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def to_authors(model: torch.nn.Module, *, concatenated: bool, slope: float | None = 1.0) -> dict:
    """The model's weights under the authors' names, written out independently of the converter."""
    out = {}
    for name, value in model.state_dict().items():
        name = name.replace("stem.conv", "downsample_layers.0.conv")
        name = name.replace("stem.norm", "downsample_layers.0.post_norm")
        for stage in "123":
            name = name.replace(
                f"stages.{stage}.downsample.norm", f"downsample_layers.{stage}.pre_norm"
            )
            name = name.replace(
                f"stages.{stage}.downsample.conv", f"downsample_layers.{stage}.conv"
            )
        name = name.replace(".blocks.", ".")
        if name.startswith("head."):
            name = name.replace("head.norm", "norm").replace("head.fc.", "head.")
        if name.startswith("feature_norms."):
            name = name.replace("feature_norms.", "norm")
        for new, old in (
            (".query.", ".query.0."),
            (".context.", ".ctx."),
            (".proj.norm.", ".proj.1."),
            (".proj.mix.", ".proj.3."),
            (".out.", ".proj_out."),
            ("spectral.alpha", "scale.alpha"),
            (".proj.grouped_interleaved.", ".proj.0."),
            (".proj.grouped_concatenated.", ".proj.0."),
        ):
            name = name.replace(new, old)
        if not concatenated and ".local_convs." in name:
            head, leaf = name.partition(".local_convs.")[2].split(".")
            name = f"{name.partition('.local_convs.')[0]}.local_conv_{int(head) + 1}.{leaf}"
        if name.endswith("spectral.theta"):
            base = name.removesuffix("spectral.theta")
            if concatenated:
                out[base + "filter"] = value
                if base + "scale.alpha" not in out and slope is not None:
                    out[base + "scale.alpha"] = torch.full((1,), slope)
            else:
                for head, part in enumerate(value.chunk(4)):
                    out[f"{base}filter_{head + 1}"] = part
            continue
        out[name] = value
    return out


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        return torch.equal(a(x), b(x))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("order", ["interleaved", "concatenated"])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
def test_authors_files_are_recognised(tmp_path, name, order, wrapper, prefix):
    model = randomized(name, head_order=order)
    state = {
        prefix + k: v for k, v in to_authors(model, concatenated=order == "concatenated").items()
    }
    if "backbone" in prefix:
        state[prefix.replace("backbone", "decode_head") + "conv.weight"] = torch.zeros(3)
    content = (
        state
        if wrapper is None
        else {
            wrapper: state,
            "optimizer": {"state": {}, "param_groups": []},
            "epoch": 3,
            "args": argparse.Namespace(lr=4e-3),
        }
    )
    torch.save(content, tmp_path / "authors.pth")
    loaded = create_model(name, tmp_path / "authors.pth").eval()
    assert same(loaded, model)
    again, checkpoint = load_model(tmp_path / "authors.pth")  # the variant is read off the weights
    assert same(again, model)
    assert checkpoint.source == "authors"
    assert describe(checkpoint.state_dict).head_order == order


def test_gate_comes_from_the_slopes(tmp_path):
    scaled = randomized(head_order="concatenated", gate="scaled_sigmoid")
    torch.save(to_authors(scaled, concatenated=True, slope=None), tmp_path / "scaled.pth")
    loaded = create_model(NAMES[1], tmp_path / "scaled.pth").eval()
    assert loaded.gate == "scaled_sigmoid"
    assert same(loaded, scaled)
    plain = randomized(head_order="concatenated")
    torch.save(to_authors(plain, concatenated=True, slope=1.0), tmp_path / "plain.pth")
    assert create_model(NAMES[1], tmp_path / "plain.pth").gate == "sigmoid"
    wider = create_model(NAMES[1], tmp_path / "plain.pth", gate="scaled_sigmoid").eval()
    assert same(wider, plain)


def test_gate_given_ignores_the_slopes(tmp_path, caplog):
    scaled = randomized(head_order="concatenated", gate="scaled_sigmoid")
    torch.save(to_authors(scaled, concatenated=True, slope=None), tmp_path / "scaled.pth")
    with caplog.at_level(logging.WARNING, "spanetv2"):
        plain = create_model(NAMES[1], tmp_path / "scaled.pth", gate="sigmoid").eval()
    assert "slopes of the spectral filters were ignored" in caplog.text
    assert not same(plain, scaled)
    with pytest.raises(
        UserError, match="weights are of gate='scaled_sigmoid', the model of 'sigmoid'"
    ):
        load_weights(randomized(head_order="concatenated"), tmp_path / "scaled.pth")


def test_dense_file_with_stage_norms(tmp_path):
    dense = randomized(feature_norms=True)
    state = {f"backbone.{k}": v for k, v in to_authors(dense, concatenated=False).items()}
    state = {
        k: v for k, v in state.items() if not k.startswith(("backbone.head", "backbone.norm."))
    }
    torch.save({"state_dict": state}, tmp_path / "dense.pth")
    loaded = create_model(NAMES[1], tmp_path / "dense.pth", features_only=True).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for got, expected in zip(loaded(x), dense.forward_intermediates(x)[1], strict=True):
            assert torch.equal(got, expected)
    classifier = randomized()
    report = load_weights(classifier, tmp_path / "dense.pth")
    assert "the classifier is not in the weights and kept its values" in report.messages
    assert any(
        "norms of the stages' outputs of the weights was left out" in m for m in report.messages
    )


def test_other_classes_leave_the_last_layer_out(caplog):
    source, target = randomized(), randomized(num_classes=7)
    before = target.get_classifier().fc2.weight.clone()
    with caplog.at_level(logging.WARNING, "spanetv2"):
        report = load_weights(target, source.state_dict())
    assert "the weights have 5 classes, the model 7" in caplog.text
    assert report.kept == ["head.fc.fc2.weight", "head.fc.fc2.bias"]
    assert torch.equal(target.get_classifier().fc2.weight, before)
    assert torch.equal(target.get_classifier().fc1.weight, source.get_classifier().fc1.weight)
    headless = randomized(num_classes=0)
    report = load_weights(headless, source.state_dict())
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(
        headless(x), source.forward_head(source.forward_features(x), pre_logits=True)
    )


@pytest.mark.parametrize("size", [(96, 64), (64, 100), (32, 32)])
def test_other_input_size_resizes_the_filters(size):
    source, target = randomized(), randomized(img_size=size)
    report = load_weights(target, source.state_dict())
    assert report.resized
    x = torch.randn(1, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(target(x), source(x), rtol=1e-4, atol=1e-4)


def test_other_channels_adapt_the_stem():
    source, target = randomized(), randomized(in_chans=1)
    report = load_weights(target, source.state_dict())
    assert any("from 3 to 1 input channels" in message for message in report.messages)
    summed = source.stem.conv.weight.sum(1, keepdim=True)
    torch.testing.assert_close(target.stem.conv.weight, summed)


@pytest.mark.parametrize("gate", ["sigmoid", "scaled_sigmoid"])
@pytest.mark.parametrize("order", ["interleaved", "concatenated"])
def test_saved_file_says_everything(tmp_path, order, gate):
    options = {
        "head_order": order,
        "gate": gate,
        "in_chans": 2,
        "stem_stride": 2,
        "img_size": (40, 56),
    }
    model = randomized(**options)
    path = tmp_path / "weights.safetensors"
    preprocessing = {"input_size": [2, 40, 56], "mean": [0.5, 0.5], "std": [0.2, 0.2]}
    save_weights(
        model, path, classes=list("abcde"), preprocessing=preprocessing, extra={"top1": 0.5}
    )
    again, checkpoint = load_model(tmp_path)
    x = torch.randn(1, 2, 40, 56)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))
    assert (checkpoint.classes, checkpoint.preprocessing) == (list("abcde"), preprocessing)
    assert checkpoint.model_kwargs["img_size"] == [40, 56]
    assert checkpoint.extra == {"top1": 0.5}
    with safe_open(path, framework="pt") as file:
        assert json.loads(file.metadata()["spanetv2"])["model_name"] == NAMES[1]
    assert [p.name for p in tmp_path.iterdir()] == ["weights.safetensors"]


def test_file_without_metadata_is_described_by_its_weights(tmp_path):
    model = randomized(stem_stride=1, head_order="concatenated", gate="scaled_sigmoid", in_chans=4)
    save_file(model.state_dict(), tmp_path / "bare.safetensors")
    again, _ = load_model(tmp_path / "bare.safetensors")
    x = torch.randn(1, 4, 64, 64)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))


def test_training_checkpoint_prefers_averaged_weights(tmp_path):
    model, averaged = randomized(), randomized()
    for parameter in averaged.parameters():
        parameter.data.mul_(0.5)
    state = {f"net.{k}": v for k, v in model.state_dict().items()}
    kept = {"model_name": NAMES[1], "model_kwargs": OPTIONS, "classes": list("abcde")}
    record = json.dumps(kept)
    torch.save({"state_dict": state, "spanetv2": record}, tmp_path / "last.ckpt")
    loaded, checkpoint = load_model(tmp_path / "last.ckpt")
    assert same(loaded, model)
    assert checkpoint.classes == list("abcde")
    state |= {f"ema.module.{k}": v for k, v in averaged.state_dict().items()}
    torch.save({"state_dict": state, "spanetv2": record}, tmp_path / "last.ckpt")
    assert same(load_model(tmp_path / "last.ckpt")[0], averaged)


def test_timm_models_are_saved_and_loaded_alike(tmp_path):
    model = create_model("test_resnet", num_classes=5).eval()
    save_weights(model, tmp_path / "resnet.safetensors", classes=list("abcde"))
    again, checkpoint = load_model(tmp_path / "resnet.safetensors")
    assert checkpoint.source == "other"
    assert same(again, model)
    with pytest.raises(UserError, match="weights of test_resnet"):
        create_model("s18_pure", tmp_path / "resnet.safetensors")


def test_a_checkpoint_that_is_read_already_makes_models_and_stays_as_it_was(tmp_path):
    model = spanetv2.create_model("pico_pure", num_classes=3, img_size=32)
    spanetv2.save_weights(model, tmp_path / "w.safetensors")
    checkpoint = read_checkpoint(tmp_path / "w.safetensors")
    assert read_checkpoint(checkpoint) is checkpoint
    before = {name: value.clone() for name, value in checkpoint.state_dict.items()}
    (tmp_path / "w.safetensors").unlink()  # it is not read again
    # it has no slopes of a scaled gate and no norms of a dense backbone, and 5 classes do not fit
    for options in ({"gate": "scaled_sigmoid"}, {"features_only": True}, {"num_classes": 5}, {}):
        made = spanetv2.create_model("pico_pure", checkpoint, **options)
        weight = getattr(made, "model", made).stem.conv.weight
        assert torch.equal(weight, model.stem.conv.weight)
        assert checkpoint.state_dict.keys() == before.keys()
    assert all(torch.equal(checkpoint.state_dict[name], value) for name, value in before.items())
    assert made.state_dict().keys() == model.state_dict().keys()


def test_metaformer_weights_are_not_taken_for_ours(tmp_path):
    other = create_model("convformer_s18", num_classes=2)
    torch.save(other.state_dict(), tmp_path / "other.pth")
    with pytest.raises(UserError, match="expected a SPANetV2"):
        load_weights(randomized(), tmp_path / "other.pth")
    with pytest.raises(UserError, match="unknown network"):
        load_model(tmp_path / "other.pth")


class _Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was run')",))


def _write_bad(tmp_path, kind: str):
    model = randomized()
    good = tmp_path / "good.safetensors"
    save_weights(model, good)
    state = model.state_dict()
    path = tmp_path / ("bad.safetensors" if kind.startswith("safetensors") else "bad.pth")
    match kind:
        case "missing file":
            pass
        case "safetensors truncated":
            path.write_bytes(good.read_bytes()[:-100])
        case "safetensors empty":
            path.write_bytes(b"")
        case "pth truncated":
            torch.save(state, path)
            path.write_bytes(path.read_bytes()[:-5000])
        case "pth empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("<html>404</html>")
        case "pickle":
            path.write_bytes(pickle.dumps(_Bomb()))
        case "pickle in torch file":
            torch.save({"state_dict": state, "bomb": _Bomb()}, path)
        case "no tensors":
            torch.save({"epoch": 3}, path)
        case "list":
            torch.save([1, 2], path)
        case "missing keys":
            torch.save({k: v for k, v in state.items() if "stages.2.blocks.1" not in k}, path)
        case "unexpected keys":
            torch.save({**state, "stages.0.blocks.0.extra": torch.zeros(1)}, path)
        case "other variant":
            torch.save(randomized("spanetv2_nano_hybrid").state_dict(), path)
        case "other order":
            torch.save(randomized(head_order="concatenated").state_dict(), path)
        case "other stem":
            torch.save(randomized(stem_stride=2).state_dict(), path)
        case "missing filter":
            authors = to_authors(model, concatenated=False)
            del authors["stages.0.0.token_mixer.filter_3"]
            torch.save(authors, path)
        case "folder":
            path.mkdir()
    return path


BAD = {
    "missing file": "no such file",
    "safetensors truncated": "truncated or not a safetensors file",
    "safetensors empty": "truncated or not a safetensors file",
    "pth truncated": "truncated or not a checkpoint",
    "pth empty": "truncated or not a checkpoint",
    "text": "not a checkpoint",
    "pickle": "of which nothing is run",
    "pickle in torch file": "of which nothing is run",
    "no tensors": r"without model weights \(it holds epoch\)",
    "list": "holds a list, expected a state dict",
    "missing keys": r"missing: stages\.2\.blocks\.1.* and \d+ more",
    "unexpected keys": r"unexpected: stages\.0\.blocks\.0\.extra",
    "other variant": "the weights are spanetv2_nano_hybrid, the model is spanetv2_pico_hybrid",
    "other order": "weights are of head_order='concatenated', the model of 'interleaved'",
    "other stem": "weights are of stem_stride=2, the model of 4",
    "missing filter": r"filter_1\.\.4 missing",
    "folder": "a folder without weights.safetensors",
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files_leave_the_model_as_it_was(tmp_path, kind):
    path = _write_bad(tmp_path, kind)
    model = randomized()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError, match=BAD[kind]) as caught:
        load_weights(model, path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_create_model_refuses_a_contradiction(tmp_path):
    save_weights(randomized(), tmp_path / "w.safetensors")
    with pytest.raises(UserError, match="leave head_order out to take it from the file"):
        create_model(NAMES[1], tmp_path / "w.safetensors", head_order="concatenated")


def test_create_model_suggests_names():
    with pytest.raises(UserError, match=r"did you mean .*s18_pure"):
        create_model("s18_pur")
    with pytest.raises(UserError, match="got model 'qqqqqqqq'"):
        create_model("qqqqqqqq")


def test_save_refuses_names_that_no_reader_takes(tmp_path):
    model = create_model("pico_pure", num_classes=3)
    with pytest.raises(UserError, match=r"got output .*k\.pth, expected a name that ends in \.saf"):
        save_weights(model, tmp_path / "k.pth")
    with pytest.raises(UserError, match="got class names 'abc', expected a list of names"):
        save_weights(model, tmp_path / "k.safetensors", classes="abc")
    assert not [*tmp_path.iterdir()]


def test_save_refuses_wrong_class_names(tmp_path):
    with pytest.raises(UserError, match="got 2 class names, expected 5"):
        save_weights(randomized(), tmp_path / "w.safetensors", classes=["a", "b"])
    assert not list(tmp_path.iterdir())


def test_checkpoint_filter_serves_timm(tmp_path):
    import timm

    model = randomized()
    torch.save({"model": to_authors(model, concatenated=False)}, tmp_path / "authors.pth")
    loaded = timm.create_model(
        NAMES[1],
        pretrained=True,
        num_classes=5,
        img_size=64,
        pretrained_cfg_overlay={"file": str(tmp_path / "authors.pth"), "num_classes": 5},
    ).eval()
    assert same(loaded, model)


def test_convert_writes_what_it_read(tmp_path):
    model = randomized()
    state = to_authors(model, concatenated=False)
    torch.save(state, tmp_path / "authors.pth")
    native = to_native(torch.load(tmp_path / "authors.pth", weights_only=True))
    assert set(native) == set(model.state_dict())
    save_weights(load_model(tmp_path / "authors.pth")[0], tmp_path / "ours.safetensors")
    written = load_file(tmp_path / "ours.safetensors")
    assert all(torch.equal(written[name], value) for name, value in model.state_dict().items())
    assert read_checkpoint(tmp_path / "ours.safetensors").source == "spanetv2"
    assert spanetv2.load_model(tmp_path / "ours.safetensors")[0].training is False


@pytest.mark.parametrize("read", [describe, lambda state: None], ids=["described", "loaded"])
@pytest.mark.parametrize("dimensions", [0, 5])
def test_a_tensor_of_other_dimensions_is_refused_wherever_it_is(dimensions, read):
    model = create_model("pico_hybrid", depths=(1, 1, 1, 1), dims=(8, 16, 32, 32), num_classes=3)
    whole = {name: value.clone() for name, value in model.state_dict().items()}
    for name, value in whole.items():
        if value.ndim != dimensions:
            changed = {**whole, name: torch.zeros([1] * dimensions)}
            with pytest.raises(UserError):
                load_weights(model, (read(changed), changed)[1])
