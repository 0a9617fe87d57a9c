"""Exported detectors, run by ONNX Runtime and OpenVINO, against what detectors find."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from small_detectors import LIGHT, rectangles

from spanetv2.cli.main import main
from spanetv2.deploy.runtimes import open_runtime
from spanetv2.scenes import SceneSettings, scene_of
from spanetv2.tasks.detection.export import on_canvas
from spanetv2.tasks.detection.graph import DetectorGraph
from spanetv2.tasks.detection.masks import decode_mask
from spanetv2.tasks.detection.model import create_detector
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.tasks.detection.predict import predict
from spanetv2.tasks.detection.weights import load_detector, save_detector

SHIPPED = "spanetv2_pico_pure.scenes_mask_rcnn"
GUIDE = Path(__file__).parents[3] / "docs" / "deployment.md"
LISTS = ("ious", "stds", "weights")
PADDED = (64, 80)  # detectors pad it to 64 x 96


@pytest.fixture
def run(monkeypatch, capfd):
    def run(*arguments: object):
        monkeypatch.setattr(sys, "argv", ["spanetv2", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code or 0, *capfd.readouterr()

    return run


def _lively(backbone: str = "pico_pure", **options):
    """Random weights whose scores differ."""
    torch.manual_seed(0)
    sizes = {"img_size": 64} if backbone == "pico_pure" else {}
    detector = create_detector(backbone, 3, DetectorOptions(**{**LIGHT, **options}), **sizes).eval()
    for name, value in detector.named_parameters():
        if "cls_score.weight" in name or "bbox_pred.weight" in name:
            torch.nn.init.normal_(value, std=0.3)
    return detector


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"masks": False},
        {"system": "cascade_mask_rcnn"},
        {"system": "cascade_mask_rcnn", "score_average": "probabilities"},
    ],
)
@torch.no_grad()
def test_graph_finds_what_the_detector_finds_beside_padding(options):
    detector = _lively(**options)
    image, _ = rectangles([[4, 4, 30, 40], [40, 10, 79, 60]], [1, 2], PADDED)
    [expected] = detector.detect([image])
    boxes, scores, labels, *masks = DetectorGraph(detector, (64, 96))(
        *on_canvas(image, (64, 96), detector.options)
    )
    assert len(scores) == 20
    assert scores.std() > 1e-3
    assert float(boxes[:, 2].max()) <= PADDED[1]
    torch.testing.assert_close(boxes, expected["boxes"])
    torch.testing.assert_close(scores, expected["scores"])
    assert torch.equal(labels, expected["labels"])
    assert len(masks) == ("masks" in expected)
    for mask in masks:
        torch.testing.assert_close(mask, expected["masks"][:, 0])


def test_file_finds_what_predict_finds_in_a_scene(run, tmp_path, monkeypatch):
    """The detector in the package, with the snippet of the guide around it, in both runtimes."""
    monkeypatch.chdir(tmp_path)
    status, out, err = run("export", SHIPPED)
    assert status == 0, err
    told = re.search(r"images 1 x 3 x 256 x 256, 0 of (\d+) detections in a scene", out)
    assert told is not None, out
    assert int(told[1]) > 5
    scene = scene_of(SceneSettings(), "val", 7, seed=5)
    Image.fromarray(scene.image).save("street.png")
    detector, checkpoint = load_detector(SHIPPED)
    [expected] = predict(detector, ["street.png"], score=0.5)
    assert len(expected.boxes) >= 3
    text = GUIDE.read_text(encoding="utf-8").split("### Detectors")[1]
    (snippet,) = re.findall(r"```python\n(.*?)```", text.split("\n### ")[0], re.DOTALL)
    names: dict = {}
    exec(compile(snippet, str(GUIDE), "exec"), names)
    good = names["scores"] >= 0.5
    np.testing.assert_allclose(names["boxes"][good], expected.boxes, atol=0.05)
    np.testing.assert_allclose(names["scores"][good], expected.scores, atol=1e-3)
    assert names["labels"][good].tolist() == expected.labels.tolist()
    assert expected.masks is not None
    np.testing.assert_allclose(names["masks"][good], expected.masks[:, 0], atol=1e-2)
    found = expected.found().masks
    assert found is not None
    for i, mask in enumerate(found):
        wanted = decode_mask(mask)
        got = names["pasted"][i]
        assert got.shape == wanted.shape
        assert (got & wanted).sum() / (got | wanted).sum() > 0.99
    about = names["about"]
    assert about["classes"] == checkpoint.classes
    assert about["preprocessing"]["mean"] == list(detector.options.mean)
    assert about["input"] == [1, 3, 256, 256]
    assert about["outputs"]["masks"] == ["detections", 28, 28]
    assert about["score_threshold"] == detector.options.score_threshold

    x, size = on_canvas(
        torch.from_numpy(scene.image).permute(2, 0, 1) / 255, (256, 256), detector.options
    )
    boxes, scores, *_ = open_runtime("openvino", "spanetv2_pico_pure_mask_rcnn.onnx")(x, size)
    assert len(boxes) == len(names["boxes"])
    np.testing.assert_allclose(scores, names["scores"], atol=1e-3)


def test_cascade_is_written_for_a_canvas_and_a_picture(run, tmp_path):
    path, out = tmp_path / "c.safetensors", tmp_path / "c.onnx"
    ious = {f"cascade_{name}": getattr(DetectorOptions(), f"cascade_{name}")[:2] for name in LISTS}
    options = {"system": "cascade_mask_rcnn", "masks": False, **ious}
    save_detector(_lively(backbone="test_resnet", **options), path, classes=["a", "b", "c"])
    image, _ = rectangles([[4, 4, 30, 40]], [1], PADDED)
    picture = tmp_path / "p.png"
    Image.fromarray((image.permute(1, 2, 0).numpy() * 255).astype("uint8")).save(picture)
    size = ("--img-size", 64, "--img-size", 96)
    status, text, err = run("export", path, "--out", out, *size, "--image", picture)
    assert status == 0, err
    assert f"images 1 x 3 x 64 x 96, 0 of 20 detections in {picture}" in text
    about = json.loads(onnx.load(str(out)).metadata_props[0].value)
    assert list(about["outputs"]) == ["boxes", "scores", "labels"]
    nothing = open_runtime("onnxruntime", out)(torch.zeros(1, 3, 64, 96), torch.tensor([0, 0]))
    assert [len(each) for each in nothing] == [0, 0, 0]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--format", "torch"), "got format torch for spanetv2_pico_pure_mask_rcnn, expected onnx"),
        (("--dynamic-size",), "expected one image of one size at a time"),
        (("--batch-size", 2, "--no-dynamic-batch"), "got batches of 2 images"),
        (("--img-size", 250), "got images of 250 x 250 pixels, expected multiples of 32"),
        (("--image", "none.png"), "got --image none.png, which cannot be read"),
        (("--output", "labels"), "got --output, which is for classification and segmentation"),
    ],
)
def test_what_detectors_are_not_written_as_is_refused(run, tmp_path, options, line):
    out = tmp_path / ("n.pt2" if "torch" in options else "n.onnx")
    status, _, err = run("export", SHIPPED, "--out", out, *options)
    assert status != 0
    assert line in err
    assert len(err.strip().splitlines()) == 1
    assert not out.exists()
