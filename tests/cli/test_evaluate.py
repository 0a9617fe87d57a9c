import gc
import json
import tarfile
import warnings

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import spanetv2
from spanetv2.cli.evaluate import evaluate_command
from spanetv2.data.classes import imagenet_classes
from spanetv2.data.preprocessing import Preprocessing, eval_transform
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.sources import DatasetSpec, open_dataset

SETTINGS = Preprocessing(input_size=(3, 16, 16), mean=(0.5,) * 3, std=(0.25,) * 3)
DIGITS = Preprocessing(input_size=(1, 8, 8), mean=(0.5,), std=(0.25,))


def checkpoint(folder, *, classes=None, num_classes=4, settings=SETTINGS):
    torch.manual_seed(0)
    channels, height, _ = settings.input_size
    model = spanetv2.create_model(
        "pico_pure", num_classes=num_classes, in_chans=channels, img_size=height, stem_stride=1
    )
    for parameter in model.parameters():  # an untrained head answers all alike
        if parameter.ndim > 1:
            parameter.data.mul_(3)
    path = folder / "weights.safetensors"
    spanetv2.save_weights(model, path, classes=classes, preprocessing=settings.to_dict())
    return path


def images(folder, names, count=4):
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i}.png")
    return folder


@pytest.fixture
def third_party_leaks():
    """webdataset leaves shards open at the end of a stream; collect that here."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def run(*arguments):
    app = typer.Typer()
    app.command()(evaluate_command())
    return CliRunner().invoke(app, [*map(str, arguments), "--device", "cpu"])


def logits_of(path, files, settings=SETTINGS):
    model, _ = spanetv2.load_model(path)
    transform = eval_transform(settings)
    with torch.no_grad():
        return model(torch.stack([transform(Image.open(file)) for file in files]))


def test_evaluate_reports_what_the_model_does(tmp_path):
    path = checkpoint(tmp_path, classes=["a", "b", "c", "d"])
    folder = images(tmp_path / "data" / "val", ["a", "b", "c", "d"])
    out = tmp_path / "new" / "out.json"
    result = run(path, "--data", tmp_path / "data", "--json", out, "--batch-size", 3)
    assert result.exit_code == 0, result.output
    plain = json.loads(out.read_text(encoding="utf-8"))
    logits = logits_of(path, sorted(folder.glob("*/*.png")))
    targets = torch.arange(4).repeat_interleave(4)
    top1 = (logits.argmax(1) == targets).float().mean().item()
    assert plain["top1"] == pytest.approx(top1)
    assert plain["loss"] == pytest.approx(
        torch.nn.functional.cross_entropy(logits, targets).item(), rel=1e-4
    )
    assert np.sum(plain["confusion_matrix"]) == plain["images"] == 16
    assert plain["images_per_second"] > 0
    assert plain["model"] == "spanetv2_pico_pure"
    assert f"top-1 {100 * top1:.2f} %" in result.stdout
    assert "16 images, 4 classes\n" in result.stdout


def test_evaluate_maps_a_part_of_the_classes_by_name(tmp_path):
    path = checkpoint(tmp_path, classes=["d", "b", "c", "a"])
    folder = images(tmp_path / "val", ["a", "b"])
    out = tmp_path / "out.json"
    result = run(path, "--data", folder, "--json", out)
    assert result.exit_code == 0, result.output
    logits = logits_of(path, sorted(folder.glob("*/*.png")))
    expected = logits.argmax(1) == torch.tensor([3, 1]).repeat_interleave(4)
    plain = json.loads(out.read_text())
    assert plain["top1"] == pytest.approx(expected.float().mean().item())
    assert {row["class"]: row["images"] for row in plain["classes"] if row["images"]} == {
        "a": 4,
        "b": 4,
    }
    assert "2 of the model's classes have no images here" in result.stdout


@pytest.mark.parametrize("named", [True, False])
def test_evaluate_knows_imagenets_label_order_and_names(tmp_path, named):
    classes = imagenet_classes()
    path = checkpoint(tmp_path, classes=classes if named else None, num_classes=1000)
    folder = images(tmp_path / "imagenet" / "val", ["n02099601", "n01443537"], count=2)
    out = tmp_path / "out.json"
    result = run(path, "--data", tmp_path / "imagenet", "--json", out)
    assert result.exit_code == 0, result.output
    files = [*sorted(folder.glob("n01443537/*")), *sorted(folder.glob("n02099601/*"))]
    targets = torch.tensor([1, 1, 207, 207])
    loss = torch.nn.functional.cross_entropy(logits_of(path, files), targets).item()
    plain = json.loads(out.read_text())
    assert plain["loss"] == pytest.approx(loss, rel=1e-4)
    rows = {row["index"]: (row["class"], row["title"]) for row in plain["classes"] if row["images"]}
    assert rows == {1: ("n01443537", "goldfish"), 207: ("n02099601", "golden retriever")}
    assert "golden retriever" in result.stdout


def test_evaluate_refuses_unknown_class_folders(tmp_path):
    path = checkpoint(tmp_path, classes=["a", "b", "c", "d"])
    result = run(path, "--data", images(tmp_path / "val", ["a", "zebra"]))
    assert isinstance(result.exception, UserError)
    assert "unknown classes 'zebra'" in str(result.exception)


def test_evaluate_reports_damaged_images_and_exits_with_1(tmp_path):
    path = checkpoint(tmp_path, classes=["a", "b", "c", "d"])
    folder = images(tmp_path / "val", ["a", "b"])
    (folder / "a" / "1.png").write_bytes(b"text")
    out = tmp_path / "out.json"
    result = run(path, "--data", folder, "--json", out, "--workers", 2)
    assert result.exit_code == 1
    assert f"error: {folder}/a/1.png: not an image" in result.stderr
    assert "7 images evaluated, 1 could not be read" in result.stderr
    plain = json.loads(out.read_text())
    assert (plain["images"], plain["failed"]) == (7, 1)
    assert plain["failures"][0]["path"] == str(folder / "a" / "1.png")


def test_evaluate_digits_without_a_folder_and_draws_confusions(tmp_path):
    path = checkpoint(tmp_path, classes=list("0123456789"), num_classes=10, settings=DIGITS)
    picture, out = tmp_path / "confusion.png", tmp_path / "out.json"
    result = run(path.parent, "--dataset", "digits", "--picture", picture, "--json", out)
    assert result.exit_code == 0, result.output
    source = open_dataset(DatasetSpec(name="digits", split="val"), eval_transform(DIGITS))
    model, _ = spanetv2.load_model(path)
    pairs = [source[i] for i in range(360)]  # type: ignore[index]
    with torch.no_grad():
        right = model(torch.stack([x for x, _ in pairs])).argmax(1) == torch.tensor(
            [y for _, y in pairs]
        )
    assert json.loads(out.read_text())["top1"] == pytest.approx(right.float().mean().item())
    with Image.open(picture) as drawn:
        assert min(drawn.size) > 100


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_evaluate_takes_the_labels_of_nameless_streams_for_outputs(tmp_path, third_party_leaks):
    pytest.importorskip("webdataset")
    path = checkpoint(tmp_path, classes=["a", "b", "c", "d"])
    folder = images(tmp_path / "val", ["b"])
    with tarfile.open(tmp_path / "s-0.tar", "w") as archive:
        (tmp_path / "label.cls").write_text("1")
        for i in range(4):
            archive.add(folder / "b" / f"{i}.png", arcname=f"{i}.png")
            archive.add(tmp_path / "label.cls", arcname=f"{i}.cls")
    out = tmp_path / "out.json"
    result = run(
        *(path, "--dataset", "wds", "--data", tmp_path, "--split", "s-{0..0}.tar"),
        *("--json", out),
    )
    assert result.exit_code == 0, result.output
    logits = logits_of(path, sorted(folder.glob("*/*.png")))
    plain = json.loads(out.read_text())
    assert plain["top1"] == pytest.approx((logits.argmax(1) == 1).float().mean().item())
    assert {row["index"]: row["images"] for row in plain["classes"]}[1] == 4
