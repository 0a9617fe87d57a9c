import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from spanetv2.cli.check_data import check_data_app
from spanetv2.cli.evaluate import evaluate_command
from spanetv2.cli.predict import predict_command
from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.model import HeadOptions, create_segmenter
from spanetv2.tasks.segmentation.weights import load_segmenter, save_segmenter

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tasks" / "segmentation"))
import segmentation_data  # pyright: ignore[reportMissingImports]

NAMES = segmentation_data.NAMES
check_app, evaluate, predict = check_data_app(), evaluate_command(), predict_command()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A model with random, lively weights: it answers differently everywhere."""
    torch.manual_seed(0)
    head = HeadOptions(name="semantic_fpn", width=8, neck=8)
    model = create_segmenter("pico_pure", 3, head, img_size=32, stem_stride=2)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=2 * parameter[0].numel() ** -0.5)
    path = tmp_path_factory.mktemp("run") / "weights.safetensors"
    save_segmenter(
        model,
        path,
        classes=NAMES,
        palette=[(9, 9, 9), (200, 0, 0), (0, 200, 0)],
        preprocessing={"size": None},
        inference={"window": 16, "stride": 11},
        extra={"dataset": "ade20k"},
    )
    return path


def run(command, *arguments):
    app = command
    if not isinstance(command, typer.Typer):
        app = typer.Typer()
        app.command()(command)
    return CliRunner().invoke(app, list(map(str, arguments)))


def labels_of(checkpoint, path, window=16, stride=11):
    """Classes by the definition: average the windows, take the best."""
    model, _ = load_segmenter(checkpoint)
    pixels = torch.tensor(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    x = ((pixels - mean[:, None, None]) / std[:, None, None])[None]
    height, width = x.shape[-2:]
    total, count = torch.zeros(1, 3, height, width), torch.zeros(height, width)
    for top in {*range(0, height - window, stride), height - window}:
        for left in {*range(0, width - window, stride), width - window}:
            place = (..., slice(top, top + window), slice(left, left + window))
            with torch.no_grad():
                total[place] += model(x[place])
            count[place] += 1
    return (total / count).argmax(1)[0].numpy()


def test_evaluate_measures_a_segmentation_checkpoint(tmp_path, checkpoint):
    root = segmentation_data.write(tmp_path / "d", ade=True)
    out, picture = tmp_path / "new" / "out.json", tmp_path / "p.png"
    options = ("--json", out, "--picture", picture, "--device", "cpu")
    result = run(evaluate, checkpoint.parent, "--data", root, *options)
    assert result.exit_code == 0, result.output
    plain = json.loads(out.read_text(encoding="utf-8"))
    right = total = 0
    for i in range(2):
        truth = segmentation_data.scene(100 + i)[1]
        truth[0, :3] = 255
        found = labels_of(checkpoint, root / "images" / "validation" / f"scene_{i}.png")
        right += int(((found == truth) & (truth != 255)).sum())
        total += int((truth != 255).sum())
    assert plain["pixel_accuracy"] == pytest.approx(right / total, abs=2e-3)
    assert sum(row["pixels"] for row in plain["classes"]) == total
    assert plain["inference"]["window"] == 16
    assert plain["model"] == "spanetv2_pico_pure"
    assert f"mIoU {100 * plain['miou']:.2f} %" in result.stdout
    with Image.open(picture) as drawn:
        assert min(drawn.size) > 100


def test_evaluate_takes_windows_scales_and_mirror_images(tmp_path, checkpoint):
    root = segmentation_data.write(tmp_path / "d")
    out = tmp_path / "out.json"
    result = run(
        *(evaluate, checkpoint, "--data", root, "--dataset", "folder", "--window", 20),
        *("--scale", 1.0, "--scale", 0.5, "--flip", "--json", out, "--device", "cpu"),
    )
    assert result.exit_code == 0, result.output
    assert json.loads(out.read_text())["inference"] == {
        "window": 20,
        "stride": None,
        "scales": [1.0, 0.5],
        "flip": True,
    }


def test_evaluate_refuses_classes_that_the_model_lacks(tmp_path, checkpoint):
    root = segmentation_data.write(tmp_path / "d", ade=True)
    (root / "classes.txt").write_text("ground\nzebra\ngreen\n")
    result = run(evaluate, checkpoint, "--data", root, "--device", "cpu")
    assert isinstance(result.exception, UserError)
    assert "'zebra' that the model does not know" in str(result.exception)


def test_evaluate_reports_damaged_files_and_exits_with_1(tmp_path, checkpoint):
    root = segmentation_data.write(tmp_path / "d", ade=True)
    bad = root / "images" / "validation" / "scene_0.png"
    bad.write_bytes(b"text")
    result = run(evaluate, checkpoint, "--data", root, "--device", "cpu")
    assert result.exit_code == 1
    assert f"error: {bad}: not an image" in result.stderr
    assert "1 images evaluated, 1 could not be read" in result.stderr


def test_predict_writes_labels_overlays_and_facts(tmp_path, checkpoint):
    root = segmentation_data.write(tmp_path / "d")
    folder, out = root / "images" / "val", tmp_path / "new" / "out"
    (folder / "bad.png").write_bytes(b"")
    result = run(predict, checkpoint, folder, "--out", out, "--device", "cpu")
    assert result.exit_code == 1
    assert f"error: {folder}/bad.png: an empty file" in result.stderr
    facts = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    assert [row["path"] for row in facts] == [str(folder / f"scene_{i}.png") for i in range(2)]
    for row in facts:
        with Image.open(out / row["labels"]) as image:
            labels = np.asarray(image)
        expected = labels_of(checkpoint, row["path"])
        assert len(np.unique(expected)) > 1
        assert (labels == expected).mean() > 0.99
        assert sum(row["classes"].values()) == pytest.approx(1, abs=1e-4)
        with Image.open(out / row["overlay"]) as image:
            assert image.height == 24
        assert f"{row['path']}\t{next(iter(row['classes']))} " in result.stdout


def test_predict_slides_a_given_window_over_the_image_itself(tmp_path, checkpoint):
    root = segmentation_data.write(tmp_path / "d", counts=(1, 1), size=(40, 60))
    image = root / "images" / "val" / "scene_0.png"
    options = ("--out", tmp_path / "out", "--window", 24, "--stride", 24, "--device", "cpu")
    result = run(predict, checkpoint, image, *options)
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "out" / "labels" / "scene_0.png") as written:
        labels = np.asarray(written)
    assert (labels == labels_of(checkpoint, image, window=24, stride=24)).mean() > 0.99


@pytest.mark.parametrize("ade", [False, True])
def test_check_data_counts_classes(tmp_path, ade):
    root = segmentation_data.write(tmp_path / "d", ade=ade)
    result = run(check_app, "segmentation", root)
    assert result.exit_code == 0, result.output
    assert "train: 4 pairs" in result.stdout
    assert "val: 2 pairs" in result.stdout
    pixels = np.concatenate([segmentation_data.scene(100 + i)[1].ravel() for i in range(2)])
    if not ade:
        share = f"{100 * (pixels == 1).mean():.2f}"
        lines = [line.split() for line in result.stdout.splitlines()]
        assert ["red", "2", share, "%"] in lines


def test_check_data_names_every_bad_file_and_exits_with_1(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    small, colour = (root / "masks" / "train" / f"scene_{i}.png" for i in (0, 1))
    Image.new("L", (5, 5)).save(small)
    Image.new("RGB", (32, 24)).save(colour)
    result = run(check_app, "segmentation", root, "--split", "train")
    assert result.exit_code == 1
    assert f"error: {small}: 5 x 5 pixels" in result.stderr
    assert f"error: {colour}: a picture of 3 channels" in result.stderr
    assert "2 pairs can be used, 2 cannot" in result.stderr


def test_check_data_warns_of_classes_that_never_occur(tmp_path):
    root = segmentation_data.write(tmp_path / "d")
    (root / "classes.txt").write_text("ground\nred\ngreen\nunicorn\n")
    result = run(check_app, "segmentation", root)
    assert result.exit_code == 0
    assert "warning: never labelled: unicorn" in result.stderr


def test_check_data_reads_a_folder_that_is_not_split(tmp_path):
    root = segmentation_data.write(tmp_path / "d", counts=(0, 2))
    for kind in ("images", "masks"):
        (root / kind / "train").rmdir()
        for path in (root / kind / "val").iterdir():
            path.rename(root / kind / path.name)
        (root / kind / "val").rmdir()
    result = run(check_app, "segmentation", root)
    assert result.exit_code == 0, result.output
    assert "all: 2 pairs" in result.stdout
