"""Exported segmenters, run by the programs they are for, against the network."""

import json
import re
import sys
from pathlib import Path

import onnx
import pytest
import segmentation_data
import torch
from PIL import Image

from spanetv2.cli.main import main
from spanetv2.deploy.export import export_network
from spanetv2.deploy.runtimes import open_runtime
from spanetv2.deploy.subject import ExportSubject
from spanetv2.deploy.verify import run_exported
from spanetv2.models.weights.read import read_checkpoint
from spanetv2.tasks.segmentation.data.transforms import Preprocessing
from spanetv2.tasks.segmentation.export import export_subject
from spanetv2.tasks.segmentation.model import HeadOptions, SegmentationModel, create_segmenter
from spanetv2.tasks.segmentation.weights import load_segmenter, save_segmenter

NAMES = segmentation_data.NAMES
GUIDE = Path(__file__).parents[3] / "docs" / "deployment.md"
FILE = "spanetv2_pico_pure_semantic_fpn.onnx"
PALETTE = [[9, 9, 9], [200, 0, 0], [0, 200, 0]]
OURS = {"img_size": 64, "depths": (1, 1, 1, 1), "dims": (8, 16, 24, 32)}


def _lively(head: str, backbone: str, **options) -> SegmentationModel:
    """Random weights that answer differently everywhere."""
    torch.manual_seed(0)
    model = create_segmenter(backbone, 3, HeadOptions(name=head, width=8, neck=8), **options)
    for name, value in model.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif value.ndim > 1:
            torch.nn.init.normal_(value, std=2 * value[0].numel() ** -0.5)
    return model.eval()


def _saved(tmp_path, head: str, backbone: str, *, facts=None, **options):
    path = tmp_path / "weights.safetensors"
    facts = {"preprocessing": {"size": [128, 64]}, "palette": PALETTE} if facts is None else facts
    save_segmenter(_lively(head, backbone, **options), path, classes=NAMES, **facts)
    return path


@pytest.fixture
def run(monkeypatch, capfd):
    def run(*arguments: object):
        monkeypatch.setattr(sys, "argv", ["spanetv2", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code or 0, *capfd.readouterr()

    return run


def _close(got: torch.Tensor, expected: torch.Tensor) -> None:
    assert got.shape == expected.shape
    assert expected.std() > 1e-3
    assert float((got - expected).abs().max() / expected.abs().max()) < 1e-4


@torch.no_grad()
def test_export_writes_a_segmenter_that_answers_as_the_network(run, tmp_path):
    path, out = _saved(tmp_path, "upernet", "pico_pure", **OURS), tmp_path / "n.onnx"
    status, text, err = run("export", path, "--out", out, "--img-size", 48, "--img-size", 80)
    assert status == 0, err
    assert "n.onnx: images any x 3 x 48 x 80, largest difference from the network " in text
    model, _ = load_segmenter(path)
    x = torch.randn(3, 3, 48, 80)
    _close(run_exported(out, x), model(x))
    _close(open_runtime("openvino", out)(x), model(x))
    (entry,) = onnx.load(str(out)).metadata_props
    about = json.loads(entry.value)
    assert about["classes"] == NAMES
    assert about["palette"] == PALETTE
    assert about["output_name"] == "logits"
    assert about["output"] == ["batch", 3, 48, 80]
    assert about["preprocessing"]["size"] == [128, 64]
    assert about["inference"]["window"] is None
    assert about["activation"] == "softmax"
    assert not [w for w in onnx.load(str(out)).graph.initializer if "auxiliary" in w.name]


@pytest.mark.parametrize("head", ["semantic_fpn", "upernet"])
@torch.no_grad()
def test_file_of_any_size_takes_it(tmp_path, head):
    """Of a backbone that is quick to export so; ours are tested as classifiers."""
    subject = export_subject(read_checkpoint(_saved(tmp_path, head, "test_resnet")))
    path = tmp_path / "n.onnx"
    written = export_network(subject, path, format="onnx", dynamic_size=True)
    assert written.input_shape == (-1, 3, -1, -1)
    network, session = onnx.load(str(path)), open_runtime("openvino", path)
    about = json.loads(network.metadata_props[0].value)
    assert about["output"] == ["batch", 3, "height", "width"]
    for shape in ((1, 3, 64, 64), (2, 3, 96, 72), (1, 3, 127, 90)):
        x = torch.randn(shape)
        _close(run_exported(path, x), subject.model(x))
        _close(session(x), subject.model(x))


@torch.no_grad()
def test_our_backbone_takes_any_size_below_a_head(tmp_path):
    """One block: symbolic sizes cost minutes on deeper networks."""
    options = {"depths": (1,), "dims": (8,), "mixers": ("spam",), "residual_scale": (False,)}
    model = _lively("semantic_fpn", "pico_pure", img_size=64, out_indices=(0,), **options)
    path = tmp_path / "n.pt2"
    written = export_network(ExportSubject(model=model), path, format="torch", dynamic_size=True)
    assert written.error is not None
    assert written.error < 1e-4
    x = torch.randn(1, 3, 101, 72)
    _close(run_exported(path, x), model(x))


@pytest.mark.filterwarnings("ignore:`torch.jit.load` is deprecated")
@torch.no_grad()
def test_probabilities_and_labels_come_out(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = _saved(tmp_path, "semantic_fpn", "pico_pure", **OURS)
    model, _ = load_segmenter(path)
    x = torch.randn(2, 3, 64, 64)  # what is shown of a square image
    expected = model(x).softmax(1)
    options = ("export", path, "--format", "torchscript", "--out", tmp_path / "p.ts")
    status, _, err = run(*options, "--output", "probabilities")
    assert status == 0, err
    _close(run_exported(tmp_path / "p.ts", x), expected)
    status, text, err = run("export", path, "--output", "labels")
    assert status == 0, err
    assert "images any x 3 x 64 x 64, another label than the network's on 0 of the pixels" in text
    labels = expected.argmax(1).to(torch.uint8)
    assert 0.01 < float((labels == labels[0, 0, 0]).double().mean()) < 0.99
    for runtime in ("onnxruntime", "openvino"):
        got = open_runtime(runtime, FILE)(x)
        assert got.dtype == torch.uint8
        assert float((got != labels).double().mean()) < 1e-3
    about = json.loads(onnx.load(FILE).metadata_props[0].value)
    assert (about["output_name"], about["output"]) == ("labels", ["batch", 64, 64])

    # the snippet of the guide
    image = Image.fromarray(segmentation_data.scene(0, (64, 64))[0])
    image.save("street.png")
    text = GUIDE.read_text(encoding="utf-8").split("### Segmenters")[1]
    (snippet,) = re.findall(r"```python\n(.*?)```", text.split("\n### ")[0], re.DOTALL)
    names: dict = {}
    exec(compile(snippet, str(GUIDE), "exec"), names)
    expected = model(Preprocessing().to_tensor(image)[None]).argmax(1)
    assert len(expected.unique()) > 1
    assert (names["labels"] != expected.numpy()).mean() < 1e-3


def test_int8_names_the_networks_class_on_pixels(run, tmp_path):
    weights, folder = _saved(tmp_path, "semantic_fpn", "test_resnet"), tmp_path / "images"
    folder.mkdir()
    for i in range(2):
        Image.fromarray(segmentation_data.scene(i, (150, 200))[0]).save(folder / f"{i}.png")
    out, options = tmp_path / "n.onnx", ("--quantize", "int8", "--calibrate", folder)
    status, text, err = run("export", weights, "--out", out, "--img-size", 96, *options)
    assert status == 0, err
    assert "int8, images any x 3 x 96 x 96, the network's class on " in text
    assert " % of the pixels of 2 images (expected: at least 90 %), largest difference " in text
    read = export_subject(read_checkpoint(weights), (96, 96)).read
    assert read is not None
    x = read(str(folder / "0.png"))[None]
    there, here = open_runtime("openvino", out)(x).argmax(1), run_exported(out, x).argmax(1)
    assert float((there == here).float().mean()) > 0.97
    assert len(here.unique()) > 1
    kinds = {w.data_type for w in onnx.load(str(out)).graph.initializer}
    assert onnx.TensorProto.INT8 in kinds


def test_usual_size_is_what_images_are_shown_in(tmp_path):
    def size(**facts) -> tuple[int, int] | None:
        path = _saved(tmp_path, "semantic_fpn", "pico_pure", facts=facts, **OURS)
        return export_subject(read_checkpoint(path)).img_size

    plain = {"size": None}
    assert size(preprocessing=plain) == (64, 64)
    assert size(preprocessing={"size": [160, 96]}) == (96, 96)
    assert size(preprocessing=plain, inference={"window": 80}) == (80, 80)


def test_calibration_sees_the_middle_of_images(tmp_path):
    path = _saved(tmp_path, "semantic_fpn", "pico_pure", **OURS)
    subject = export_subject(read_checkpoint(path), (32, 48))
    assert subject.read is not None
    pixels, _ = segmentation_data.scene(0, (64, 100))
    Image.fromarray(pixels).save(tmp_path / "large.png")
    expected = Preprocessing().to_tensor(Image.fromarray(pixels))[:, 16:48, 26:74]
    torch.testing.assert_close(subject.read(str(tmp_path / "large.png")), expected)
    Image.fromarray(pixels[:20, :20]).save(tmp_path / "small.png")
    small = subject.read(str(tmp_path / "small.png"))
    assert small.shape == (3, 32, 48)


def test_what_cannot_be_exported_is_one_line(run, tmp_path):
    facts = {"preprocessing": Preprocessing(size=None).to_dict()}
    path = _saved(tmp_path, "semantic_fpn", "test_resnet", facts=facts)
    before = sorted(tmp_path.iterdir())
    for arguments, message in (
        ((), "made for images of any size, expected --img-size"),
        (("--img-size", 64, "--output", "scores"), "got output scores, expected one of logits"),
    ):
        status, _, err = run("export", path, "--out", tmp_path / "n.onnx", *arguments)
        assert status == 1
        assert message in err
        assert len(err.strip().splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before
