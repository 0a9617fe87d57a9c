"""Files in int8, run by the programs they are for, against the network and on real images."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import spanetv2
from spanetv2.deploy.export import export_model
from spanetv2.deploy.runtimes import open_runtime
from spanetv2.deploy.verify import run_exported
from spanetv2.errors import UserError
from spanetv2.models.weights.read import read_checkpoint
from spanetv2.tasks.classification.weights import load_classifier

NAME = "spanetv2_pico_pure.fashion_mnist"
SLICE = Path(__file__).parents[1] / "data" / "fashion_mnist" / "first_500_test_images.npz"


@pytest.fixture(scope="module")
def classifier():
    """The network, and 200 pre-processed images with their labels."""
    model, _, preprocessing = load_classifier(read_checkpoint(NAME))
    with np.load(SLICE) as content:
        images = torch.from_numpy(content["images"][:200])[:, None].float() / 255
        labels = torch.from_numpy(content["labels"][:200]).long()
    return model, (images - preprocessing.mean[0]) / preprocessing.std[0], labels


@pytest.fixture(scope="module")
def quantized(classifier, tmp_path_factory):
    model, images, _ = classifier
    path = tmp_path_factory.mktemp("files") / "network.onnx"
    batches = list(images[100:].split(25))
    return export_model(model, path, format="onnx", calibration=batches, description={"a": 1})


def test_int8_keeps_the_classes(classifier, quantized):
    model, images, labels = classifier
    with torch.no_grad():
        expected = model(images[:100])
    got = run_exported(quantized.path, images[:100])
    assert not torch.allclose(got, expected, atol=1e-4)
    assert float((got.argmax(1) == expected.argmax(1)).float().mean()) >= 0.95
    assert float((got.argmax(1) == labels[:100]).float().mean()) >= 0.9
    assert quantized.agreement >= 0.95
    assert 1e-4 < quantized.error < 0.5


def test_int8_runs_in_openvino(classifier, quantized):
    pytest.importorskip("openvino")
    _, images, _ = classifier
    there = open_runtime("openvino", quantized.path)(images[:100])
    here = run_exported(quantized.path, images[:100])
    assert float((there.argmax(1) == here.argmax(1)).float().mean()) >= 0.97


def test_int8_holds_layers_in_whole_numbers_and_transforms_in_float32(
    quantized, classifier, tmp_path
):
    full = export_model(classifier[0], tmp_path / "full.onnx", format="onnx").path
    made = onnx.load(str(quantized.path))
    weights = {value.name: value.data_type for value in made.graph.initializer}
    small = [name for name, kind in weights.items() if kind == onnx.TensorProto.INT8]
    products = [node for node in onnx.load(str(full)).graph.node if node.op_type == "MatMul"]
    learned = {value.name for value in onnx.load(str(full)).graph.initializer}
    layers = [node for node in products if node.input[1] in learned]
    assert len(small) >= len(layers) > 30
    kinds = {
        weights[node.input[0]]
        for node in made.graph.node
        if node.op_type == "MatMul" and node.input[0] in weights
    }
    assert kinds == {onnx.TensorProto.FLOAT}
    assert quantized.path.stat().st_size < 0.6 * full.stat().st_size
    (text,) = (entry.value for entry in made.metadata_props if entry.key == "spanetv2")
    about = json.loads(text)
    assert (about["quantized"], about["dtype"], about["a"]) == ("int8", "float32", 1)


def test_int8_that_does_not_agree_is_refused_and_nothing_is_left(tmp_path):
    torch.manual_seed(0)
    dims, mixers = (24, 48, 96, 128), ("spam",) * 4
    model = spanetv2.SPANetV2((1, 1, 1, 1), dims, mixers, num_classes=5, img_size=32).eval()
    path = tmp_path / "network.onnx"
    path.write_text("old")
    images = torch.randn(25, 3, 32, 32)
    images[24] *= 1e5  # leaves the others no whole numbers
    with pytest.raises(UserError, match=r"agrees with the network on \d+ % of 25 images, expected"):
        export_model(model, path, format="onnx", calibration=[images])
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_int8_is_for_float32(tmp_path):
    model = spanetv2.create_model("pico_pure", num_classes=2, img_size=32).half()
    with pytest.raises(UserError, match="got a network in float16 to quantise, expected float32"):
        export_model(
            model, tmp_path / "n.onnx", format="onnx", calibration=[torch.zeros(2, 3, 32, 32)]
        )
