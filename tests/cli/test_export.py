"""``spanetv2 export`` as a user meets it."""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import timm
import torch
from PIL import Image

import spanetv2
from spanetv2 import create_model, save_weights
from spanetv2.cli.main import main
from spanetv2.data.preprocessing import Preprocessing
from spanetv2.deploy.verify import run_exported

INT8 = ("--quantize", "int8", "--calibrate")
CLASSIFIER = "spanetv2_pico_pure.fashion_mnist"
SLICE = Path(__file__).parents[1] / "data" / "fashion_mnist" / "first_500_test_images.npz"


@pytest.fixture
def run(monkeypatch, capfd):
    def run(*arguments: object):
        monkeypatch.setattr(sys, "argv", ["spanetv2", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code or 0, *capfd.readouterr()

    return run


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "network.safetensors"
    torch.manual_seed(0)
    model = create_model("pico_pure", num_classes=3, img_size=64)
    save_weights(model, path, classes=["a", "b", "c"])
    return path, model.eval()


def test_export_writes_a_checked_onnx_file(run, checkpoint, tmp_path):
    path, model = checkpoint
    status, out, _ = run("export", path, "--out", tmp_path / "n.onnx", "--img-size", 96)
    assert status == 0
    assert "images any x 3 x 96 x 96, largest difference from the network" in out
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(
            run_exported(tmp_path / "n.onnx", x), model(x), rtol=1e-3, atol=1e-4
        )
    properties = onnx.load(str(tmp_path / "n.onnx")).metadata_props
    about = json.loads({prop.key: prop.value for prop in properties}["spanetv2"])
    assert about["classes"] == ["a", "b", "c"]
    assert about["preprocessing"]["input_size"] == [3, 96, 96]


def test_export_names_the_file_after_the_model(run, checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run("export", checkpoint[0], "--format", "torchscript")
    assert status == 0
    assert (tmp_path / "spanetv2_pico_pure.ts").is_file()
    assert "spanetv2_pico_pure.ts: images any x 3 x 64 x 64" in out


def test_bad_input_is_one_line(run, checkpoint, tmp_path):
    path, _ = checkpoint
    for arguments, message in (
        ((path, "--format", "tflite"), "got --format tflite, expected one of onnx"),
        ((path, "--out", tmp_path / "n.pt"), "expected a name that ends in .onnx"),
        ((tmp_path / "missing.pth",), "missing.pth"),
        ((path, "--format", "torchscript", "--dynamic-size"), "traces one size"),
        ((path, "--quantize", "int4", "--calibrate", tmp_path), "got --quantize int4, expected"),
        ((path, "--quantize", "int8"), "got --quantize without --calibrate, expected both"),
        ((path, "--calibrate", tmp_path), "got --calibrate without --quantize, expected both"),
        ((path, *INT8, tmp_path / "no"), "expected a folder of images"),
        ((path, *INT8, tmp_path), "got 0 images in"),
        ((path, *INT8, tmp_path, "--format", "torch"), "got format torch to quantise, expected"),
        ((path, *INT8, tmp_path, "--dynamic-size"), "got a dynamic image size to quantise"),
    ):
        status, _, err = run("export", *arguments)
        assert status == 1
        assert message in err
        assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_export_calibrates_on_a_folder_and_says_how_well_it_agrees(run, tmp_path):
    folder, out = tmp_path / "images", tmp_path / "n.onnx"
    folder.mkdir()
    with np.load(SLICE) as content:
        for index, image in enumerate(content["images"][:40]):
            Image.fromarray(image).save(folder / f"{index}.png")
    (folder / "damaged.png").write_bytes(b"no image")
    status, text, err = run("export", CLASSIFIER, *INT8, folder, "--out", out)
    assert status == 0, err
    assert "int8, images any x 1 x 28 x 28, the network's class on " in text
    assert " % of 40 images (expected: at least 90 %), largest difference" in text
    assert "damaged.png: " in err
    status, text, err = run(
        *("export", CLASSIFIER, *INT8, folder, "--out", out, "--no-dynamic-batch"),
        *("--batch-size", 32),
    )
    assert status == 0, err
    assert "images 32 x 1 x 28 x 28, the network's class on " in text
    assert " % of 32 images" in text


def test_export_takes_a_run_of_a_timm_network(run, tmp_path):
    overrides = {
        "model.name": "test_resnet",
        "model.stem_stride": None,
        "trainer.max_epochs": 1,
        "trainer.limit_train_batches": 2,
    }
    folder = tmp_path / "run"
    spanetv2.train("classification", "digits", out=folder, overrides=overrides)
    model, checkpoint = spanetv2.load_model(folder)
    x = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        expected = model(x)
    status, text, err = run("export", folder, "--out", tmp_path / "n.onnx")
    assert status == 0, err
    assert "n.onnx: images any x 1 x 8 x 8, largest difference from the network" in text
    torch.testing.assert_close(run_exported(tmp_path / "n.onnx", x), expected, rtol=1e-4, atol=1e-5)
    about = json.loads(onnx.load(str(tmp_path / "n.onnx")).metadata_props[0].value)
    assert (about["model"], about["classes"]) == ("test_resnet", checkpoint.classes)
    sized = ("--format", "torch", "--dynamic-size", "--img-size", 64)
    status, text, err = run("export", folder, "--out", tmp_path / "any.pt2", *sized)
    assert status == 0, err
    assert "any.pt2: images any x 1 x any x any, " in text
    x = torch.randn(2, 1, 77, 100)
    with torch.no_grad():
        expected = model(x)
    torch.testing.assert_close(
        run_exported(tmp_path / "any.pt2", x), expected, rtol=1e-4, atol=1e-5
    )


def test_a_network_of_one_size_is_refused_others_in_one_line(run, tmp_path):
    model = timm.create_model("test_vit3", num_classes=2)
    shown = Preprocessing(input_size=(3, 160, 160)).to_dict()
    path = tmp_path / "vit.safetensors"
    save_weights(model, path, classes=["a", "b"], preprocessing=shown)
    for sizes, message in (
        (("--img-size", 64), r"that does not run on images of 64 x 64 pixels"),
        (("--dynamic-size",), "expected one precision that this machine computes in, and a size"),
    ):
        status, _, err = run("export", path, "--out", tmp_path / "n.onnx", *sizes)
        assert status == 1
        assert message in err
        doing, *said = err.strip().splitlines()
        assert doing == "exporting test_vit3 and checking the file ..."
        assert len(said) == 1
    assert [child.name for child in tmp_path.iterdir()] == ["vit.safetensors"]


def test_export_answers_with_labels_or_probabilities(run, checkpoint, tmp_path):
    path, model = checkpoint
    x = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        expected = model(x).softmax(1)
    for output, wanted in (("probabilities", expected), ("labels", expected.argmax(1))):
        out = tmp_path / f"{output}.ts"
        options = ("--format", "torchscript", "--out", out, "--output", output)
        status, _, err = run("export", path, *options)
        assert status == 0, err
        torch.testing.assert_close(run_exported(out, x), wanted, rtol=1e-3, atol=1e-5)
    status, _, err = run("export", "spanetv2_pico_pure.scenes_mask_rcnn", "--output", "labels")
    assert status == 1
    assert len(err.strip().splitlines()) == 1
