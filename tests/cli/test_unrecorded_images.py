"""Weights that do not record how their images are made: every command makes them the same way."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

import spanetv2
from spanetv2.cli.main import main
from spanetv2.data.preprocessing import Preprocessing, eval_transform
from spanetv2.deploy.export import export_model
from spanetv2.deploy.verify import run_exported
from spanetv2.errors import UserError
from spanetv2.models.weights.read import read_checkpoint
from spanetv2.tasks import find_task
from spanetv2.tasks.classification.analysis import AnalysisImages, analysis_input
from spanetv2.tasks.classification.data.arrays import FASHION_MNIST_CLASSES
from spanetv2.tasks.prediction import PredictionSettings
from spanetv2.tasks.segmentation.measure import recorded_preprocessing
from spanetv2.tasks.segmentation.model import create_segmenter
from spanetv2.tasks.segmentation.weights import save_segmenter

SLICE = Path(__file__).parents[1] / "data" / "fashion_mnist" / "first_500_test_images.npz"
SHIPPED = "spanetv2_pico_pure.fashion_mnist"
IMAGES = 100
SAID = "does not record how its images are made; assumed: "


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of clothing, a folder per class."""
    root = tmp_path_factory.mktemp("data")
    with np.load(SLICE) as content:
        for i, (image, label) in enumerate(
            zip(content["images"][:IMAGES], content["labels"][:IMAGES], strict=True)
        ):
            target = root / "val" / re.sub(r"\W", "_", FASHION_MNIST_CLASSES[label])
            target.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(target / f"{i:03}.png")
    return root


def save(kind: str, path: Path) -> Path:
    """The network in the package, trained on, whose file says less than it could."""
    names = [re.sub(r"\W", "_", name) for name in FASHION_MNIST_CLASSES]
    if kind == "tag":
        model = timm.create_model(SHIPPED, pretrained=True)
        spanetv2.save_weights(model, path / "w.safetensors", classes=names)
        return path / "w.safetensors"
    model = spanetv2.create_model(
        "pico_pure", read_checkpoint(SHIPPED).path, head_order="interleaved"
    )
    with torch.no_grad():
        next(model.parameters()).mul_(1.001)  # no longer the file in the package
    plain = spanetv2.create_model(
        "pico_pure", num_classes=10, img_size=28, in_chans=1, stem_stride=2
    )
    plain.load_state_dict(model.state_dict())
    if kind == "bare":
        torch.save(plain.state_dict(), path / "w.pth")
        return path / "w.pth"
    recorded = {"mean": [0.2860], "std": [0.3530]} if kind == "parts" else None
    spanetv2.save_weights(plain, path / "w.safetensors", classes=names, preprocessing=recorded)
    return path / "w.safetensors"


@pytest.mark.parametrize(
    ("kind", "least", "lines"),
    [("tag", 0.9, 0), ("none", 0.6, 1), ("bare", None, 1), ("parts", 0.9, 1)],
)
def test_evaluate_predict_and_export_see_the_same_images(
    folder, tmp_path, caplog, kind, least, lines
):
    weights = save(kind, tmp_path)
    caplog.clear()
    answers = spanetv2.predict(weights, folder / "val", device="cpu", top_k=10)
    said = [record.getMessage() for record in caplog.records]
    assert [SAID in line for line in said] == [True] * lines
    assert answers.images == IMAGES
    predicted = torch.tensor(
        [
            [c["probability"] for c in sorted(row["predictions"], key=lambda c: c["index"])]
            for row in answers.records
        ]
    )
    caplog.clear()
    subject = find_task("classification").export_subject(read_checkpoint(weights))
    assert [record.getMessage() for record in caplog.records] == said
    about = subject.description["preprocessing"]
    assert about["input_size"] == [1, 28, 28]
    target = tmp_path / "n.ts"
    export_model(subject.model, target, format="torchscript", input_size=subject.img_size)
    transform = eval_transform(Preprocessing.from_dict(about))
    batch = torch.stack([transform(Image.open(row["path"])) for row in answers.records])
    logits = run_exported(target, batch)
    torch.testing.assert_close(logits.softmax(1), predicted, rtol=0, atol=1e-5)
    caplog.clear()
    shown = AnalysisImages(
        images=[Image.open(row["path"]) for row in answers.records],
        labels=None,
        classes=[],
        failed=0,
    )
    analysed = analysis_input(
        read_checkpoint(weights), "w", shown, [], device=torch.device("cpu"), pretrained=False
    )
    assert [record.getMessage() for record in caplog.records] == said
    assert torch.equal(analysed.images, batch)
    if least is None:  # no class names to match the folders with
        return
    caplog.clear()
    measured = spanetv2.evaluate(weights, folder, device="cpu")
    assert [record.getMessage() for record in caplog.records] == said
    names = [re.sub(r"\W", "_", name) for name in FASHION_MNIST_CLASSES]
    labels = torch.tensor([names.index(Path(row["path"]).parent.name) for row in answers.records])
    loss = torch.nn.functional.cross_entropy(logits, labels).item()
    assert measured.figures["loss"] == pytest.approx(loss, abs=1e-4)
    right = int((logits.argmax(1) == labels).sum())
    assert measured.figures["top1"] == pytest.approx(right / IMAGES)
    assert measured.figures["top1"] >= least


def test_the_command_says_what_it_assumed_in_one_line(folder, tmp_path, monkeypatch, capfd):
    weights = save("none", tmp_path)
    arguments = ["spanetv2", "predict", str(weights), str(folder / "val"), "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as stopped:
        main()
    out, err = capfd.readouterr()
    assert not stopped.value.code
    assert len(out.splitlines()) == 5 * IMAGES
    line, precision = err.strip().splitlines()
    assert precision.startswith("computed in ")
    assert line.startswith(f"{weights}: {SAID}input_size 1 x 28 x 28, mean 0.449, std 0.226")


def test_export_takes_the_recorded_image_size(tmp_path):
    model = spanetv2.create_model("pico_pure", num_classes=2, img_size=16, stem_stride=1)
    settings = Preprocessing(input_size=(3, 24, 32))  # larger in tests than in training
    path = tmp_path / "w.safetensors"
    spanetv2.save_weights(model, path, preprocessing=settings.to_dict())
    subject = find_task("classification").export_subject(read_checkpoint(path))
    assert subject.img_size == (24, 32)
    assert subject.description["preprocessing"]["input_size"] == [3, 24, 32]
    asked = find_task("classification").export_subject(read_checkpoint(path), (16, 48))
    assert asked.img_size == (16, 48)
    assert asked.description["preprocessing"]["input_size"] == [3, 16, 48]


def test_converted_weights_assume_as_much_as_before(tmp_path, monkeypatch, capfd):
    for kind, recorded in (("none", None), ("parts", {"mean": [0.286], "std": [0.353]})):
        target = tmp_path / f"{kind}.safetensors"
        command = ["spanetv2", "convert", str(save(kind, tmp_path)), str(target)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as stopped:
            main()
        assert not stopped.value.code
        assert read_checkpoint(target).preprocessing == recorded


def test_segmentation_takes_the_networks_channels_and_says_what_it_assumed(tmp_path, caplog):
    torch.manual_seed(0)
    model = create_segmenter("pico_pure", 2, img_size=32, stem_stride=2, in_chans=1)
    save_segmenter(model, tmp_path / "w.safetensors", classes=["a", "b"])
    found = recorded_preprocessing(read_checkpoint(tmp_path / "w.safetensors"))
    assert (found.channels, found.size) == (1, (2048, 512))
    (record,) = caplog.records
    assert f"{SAID}size 2048 x 512, mean 0.449, std 0.226 (" in record.getMessage()
    caplog.clear()
    settings = PredictionSettings(
        device=torch.device("cpu"), batch_size=1, options={"out": tmp_path}
    )
    find_task("segmentation").predictor(read_checkpoint(tmp_path / "w.safetensors"), settings)
    assert [SAID in record.getMessage() for record in caplog.records] == [True]


def test_a_bare_dense_model_is_not_taken_for_a_classifier(folder, tmp_path):
    torch.manual_seed(0)
    model = create_segmenter("pico_pure", 2, img_size=32, stem_stride=2)
    torch.save(model.state_dict(), tmp_path / "w.pth")
    for use in (spanetv2.predict, spanetv2.evaluate):
        with pytest.raises(UserError, match=r"w\.pth: weights of a network without a classifier"):
            use(tmp_path / "w.pth", folder, device="cpu")
