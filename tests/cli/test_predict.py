import json

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import spanetv2
from spanetv2.cli.predict import predict_command
from spanetv2.data.preprocessing import Preprocessing, eval_transform
from spanetv2.errors import UserError
from spanetv2.text import printable

CLASSES = ["n01440764", "my cat", "dög"]
TITLES = ["tench", "my cat", "dög"]
SETTINGS = Preprocessing(input_size=(3, 16, 16), mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    model = spanetv2.create_model("pico_pure", num_classes=3, img_size=16, stem_stride=1)
    for parameter in model.parameters():  # an untrained head answers all alike
        if parameter.ndim > 1:
            parameter.data.mul_(3)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    spanetv2.save_weights(model, path, classes=CLASSES, preprocessing=SETTINGS.to_dict())
    return path


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(5):
        pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    return folder


def run(*arguments):
    app = typer.Typer()
    app.command()(predict_command())
    return CliRunner().invoke(app, [*map(str, arguments), "--device", "cpu"])


def expected(checkpoint, images):
    model, _ = spanetv2.load_model(checkpoint)
    transform = eval_transform(SETTINGS)
    with torch.no_grad():
        batch = torch.stack([transform(Image.open(p)) for p in sorted(images.iterdir())])
        return model(batch).softmax(1)


def test_predict_prints_path_class_and_probability(checkpoint, images):
    result = run(checkpoint, images, "--top-k", 2)
    assert result.exit_code == 0, result.output
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    probabilities = expected(checkpoint, images)
    best = probabilities.topk(2)
    paths = [str(p) for p in sorted(images.iterdir()) for _ in range(2)]
    assert [line[0] for line in lines] == paths
    assert [line[1] for line in lines] == [TITLES[i] for i in best.indices.flatten().tolist()]
    found = torch.tensor([float(line[2]) for line in lines])
    torch.testing.assert_close(found, best.values.flatten(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("workers", [0, 2])
def test_predict_reports_problems_on_their_own_lines_and_goes_on(checkpoint, images, workers):
    (images / "2.png").write_bytes(b"")
    (images / "6\n.png").write_bytes(b"text")
    empty = images.parent / "empty"
    empty.mkdir()
    result = run(checkpoint, images, empty, "--top-k", 1, "--workers", workers, "--batch-size", 2)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 4
    errors = result.stderr.splitlines()
    assert errors[0] == f"error: {images}/2.png: an empty file"
    assert errors[1].startswith(f"error: {images}/6\\n.png: not an image")
    assert errors[2] == f"error: {empty}: a folder without images"
    assert errors[3] == "4 images classified, 3 problems"


def test_predict_writes_a_json_array(checkpoint, images, tmp_path):
    (images / "2.png").write_bytes(b"")
    out = tmp_path / "new" / "out.json"
    result = run(checkpoint, images, "--json", out)
    assert result.exit_code == 1
    assert result.stdout == ""
    rows = json.loads(out.read_text(encoding="utf-8"))
    assert [row["path"] for row in rows] == [str(p) for p in sorted(images.iterdir())]
    assert rows[2] == {"path": str(images / "2.png"), "error": "an empty file"}
    first = rows[0]["predictions"]
    assert {(p["index"], p["class"], p["title"]) for p in first} == set(
        zip(range(3), CLASSES, TITLES, strict=True)
    )
    assert sum(p["probability"] for p in first) == pytest.approx(1, abs=1e-5)
    assert [p["probability"] for p in first] == sorted(p["probability"] for p in first)[::-1]
    assert list(out.parent.iterdir()) == [out]


def test_predict_writes_an_empty_json_array_for_nothing(checkpoint, tmp_path):
    out = tmp_path / "out.json"
    (tmp_path / "none").mkdir()
    assert run(checkpoint, tmp_path / "none", "--json", out).exit_code == 1
    assert [row["error"] for row in json.loads(out.read_text())] == ["a folder without images"]


@pytest.mark.parametrize("target", ["-", "out.jsonl"])
def test_predict_writes_json_lines(checkpoint, images, tmp_path, target):
    stray = images / "a\udcff.png"
    (images / "0.png").rename(stray)
    out = tmp_path / target if target != "-" else target
    result = run(checkpoint, images, "--json", out)
    assert result.exit_code == 0, result.output
    text = result.stdout if target == "-" else (tmp_path / target).read_text(encoding="utf-8")
    assert [json.loads(line)["path"] for line in text.splitlines()] == [
        *(str(images / f"{i}.png") for i in range(1, 5)),
        str(stray),
    ]


def test_predict_draws_a_picture(checkpoint, images, tmp_path):
    (images / "2.png").write_bytes(b"")
    out = tmp_path / "sheet.png"
    assert run(checkpoint, images, "--picture", out).exit_code == 1
    with Image.open(out) as sheet:
        assert min(sheet.size) > 100


def test_predict_leaves_no_json_behind_when_it_fails(checkpoint, images, tmp_path, monkeypatch):
    from spanetv2.tasks.classification import predict as task

    def broken(*arguments, **options):
        raise UserError("the model's outputs are not finite")
        yield

    monkeypatch.setattr(task, "predict", broken)
    result = run(checkpoint, images, "--json", tmp_path / "out.json")
    assert isinstance(result.exception, UserError)
    assert not list(tmp_path.glob("*out*"))


def test_predict_refuses_a_missing_checkpoint_and_device(images, checkpoint, tmp_path):
    assert isinstance(run(tmp_path / "none.pth", images).exception, UserError)
    app = typer.Typer()
    app.command()(predict_command())
    result = CliRunner().invoke(app, [str(checkpoint), str(images), "--device", "tpu9"])
    assert isinstance(result.exception, UserError)
    assert "'tpu9'" in str(result.exception)


def test_predict_reads_a_checkpoint_without_class_names(images, tmp_path):
    model = spanetv2.create_model("pico_pure", num_classes=4, in_chans=1, img_size=16)
    spanetv2.save_weights(model, tmp_path / "weights.safetensors")
    result = run(tmp_path, images, "--top-k", 4)
    assert result.exit_code == 0, result.output
    assert {line.split("\t")[1] for line in result.stdout.splitlines()} == set("0123")


def test_printable_keeps_a_name_on_one_line():
    assert printable("a\tb\rc\udcff ü 漢.jpg") == "a\\tb\\rc\\udcff ü 漢.jpg"
