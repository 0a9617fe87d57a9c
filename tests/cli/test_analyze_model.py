"""The command: which images and models it takes, and what it says when it cannot."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

import spanetv2
from spanetv2.cli.analyze.model import model as command
from spanetv2.data.preprocessing import Preprocessing
from spanetv2.errors import UserError

pytest.importorskip("pytorch_grad_cam")

SETTINGS = Preprocessing(input_size=(3, 24, 24), mean=(0.5,) * 3, std=(0.25,) * 3)
QUICK = ["--probe-images", "1", "--channels", "1", "--rows", "2", "--sheet-images", "2"]
QUICK += ["--device", "cpu"]


def run(*arguments):
    app = typer.Typer()
    app.command()(command)
    return CliRunner().invoke(app, [*map(str, arguments), *QUICK])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = spanetv2.create_model("pico_pure", num_classes=2, img_size=24, stem_stride=1)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    spanetv2.save_weights(network, path, classes=["cat", "dog"], preprocessing=SETTINGS.to_dict())
    return path


def draw(folder: Path, names: list[str]) -> Path:
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
    return folder


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    return draw(tmp_path / "images", [f"{c}/{i}.png" for c in ("cat", "dog") for i in range(4)])


def test_a_checkpoint_and_a_class_folder_give_a_report(
    checkpoint: Path, classes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "report"
    cues = draw(tmp_path / "cues", ["cat/cat1-dog2.png", "dog/dog1-cat1.png"])
    result = run(
        *(checkpoint, "--images", classes, "--out", out, "--max-images", 4),
        *("--cue-conflict", cues, "--heat-map", "--heat-map-size", 3, "--corruptions"),
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == str(out / "index.html")
    found = json.loads((out / "analysis.json").read_text())
    (only,) = found["models"]
    assert only["model"] == "weights.safetensors"
    assert only["images"] == 4
    assert only["gaps"] == []
    assert only["shape_bias"]["shape"] + only["shape_bias"]["texture"] == 2
    assert 0 <= only["top1"] <= 1
    assert len(only["corruptions"]["values"]) == 15
    for name in ("corruptions", "corruption_spectra", "corruption_overlay"):
        assert (out / f"{name}.png").stat().st_size > 10_000
    assert (out / "corruptions.csv").read_text().count("gaussian_noise") == 5
    assert "not with published ones" in (out / "index.html").read_text()
    assert found["about"]["max_images"] == 4


@pytest.mark.usefixtures("undrawn")
def test_labels_are_matched_by_name(checkpoint: Path, tmp_path: Path) -> None:
    images = draw(tmp_path / "images", [f"dog/{i}.png" for i in range(3)])
    result = run(checkpoint, "--images", images, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out" / "analysis.json").read_text())["models"][0]
    network, _ = spanetv2.load_model(checkpoint)
    from spanetv2.data.preprocessing import eval_transform

    transform = eval_transform(SETTINGS)
    batch = torch.stack([transform(Image.open(p)) for p in sorted((images / "dog").iterdir())])
    with torch.no_grad():
        expected = (network(batch).argmax(1) == 1).float().mean().item()
    assert found["top1"] == pytest.approx(expected)


@pytest.mark.usefixtures("undrawn")
def test_a_flat_folder_and_foreign_classes_are_gaps(checkpoint: Path, tmp_path: Path) -> None:
    flat = draw(tmp_path / "flat", ["a.png", "b.png"])
    (flat / "broken.png").write_bytes(b"")
    result = run(checkpoint, "--images", flat, "--out", tmp_path / "one")
    assert result.exit_code == 1
    assert "broken.png: an empty file" in result.stderr
    assert "1 images could not be read" in result.stderr
    found = json.loads((tmp_path / "one" / "analysis.json").read_text())["models"][0]
    assert found["images"] == 2
    (gap,) = found["gaps"]
    assert "the images have no labels" in gap["reason"]
    foreign = draw(tmp_path / "foreign", ["ant/a.png", "bee/b.png"])
    result = run(checkpoint, "--images", foreign, "--out", tmp_path / "two")
    assert result.exit_code == 0
    assert "the labels do not fit the model" in result.stderr


@pytest.mark.usefixtures("undrawn")
def test_timm_models_are_compared_untrained(classes: Path, tmp_path: Path) -> None:
    result = run(
        *("spanetv2_pico_pure", "--no-pretrained", "--compare", "test_vit", "--images", classes),
        *("--out", tmp_path / "out", "--max-images", 2),
    )
    assert result.exit_code == 0, result.output
    models = json.loads((tmp_path / "out" / "analysis.json").read_text())["models"]
    assert [m["model"] for m in models] == ["spanetv2_pico_pure", "test_vit"]
    assert models[1]["attention_maps"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["s18_pure", "--dataset", "digits"], "no weights to fetch"),
        (["resnet9000", "--dataset", "digits"], "expected a SPANetV2 variant or a timm model"),
        (["s18_pure"], "expected --images FOLDER"),
        (["runs/none", "--dataset", "digits"], "runs/none"),
        (["s18_pure", "--dataset", "mnist"], "expected folder, digits or fashion_mnist"),
        (["s18_pure", "--dataset", "digits", "--cam", "x"], "grad_cam or score_cam"),
        (["s18_pure", "--dataset", "digits", "--heat-map-size", "4"], "an odd number"),
        (["a", "--compare", "a", "--dataset", "digits"], "expected none twice"),
        (["s18_pure", "--images", "nowhere"], "no such folder"),
    ],
)
def test_bad_input_is_one_clear_line(arguments, message: str, tmp_path: Path) -> None:
    result = run(*arguments, "--out", tmp_path / "out")
    assert isinstance(result.exception, UserError)
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    result = run(checkpoint, "--images", tmp_path, "--out", tmp_path / "out")
    assert isinstance(result.exception, UserError)
    assert "no images in sub-folders" in str(result.exception)


def test_weights_that_cannot_be_fetched_are_one_line(
    classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import spanetv2.models

    def offline(*args, **kwargs):
        raise OSError("no route to host\nand a long story")

    monkeypatch.setattr(spanetv2.models, "create_model", offline)
    result = run("resnet18", "--images", classes, "--out", tmp_path / "out")
    assert isinstance(result.exception, UserError)
    expected = "cannot fetch the weights of resnet18 (no route to host); give a checkpoint"
    assert str(result.exception).startswith(expected)


@pytest.mark.usefixtures("undrawn")
def test_networks_without_a_classifier_have_spectra(classes: Path, tmp_path: Path) -> None:
    network = spanetv2.create_model("pico_pure", num_classes=0, img_size=24, stem_stride=1)
    weights, out = tmp_path / "weights.safetensors", tmp_path / "out"
    spanetv2.save_weights(network, weights, preprocessing=SETTINGS.to_dict())
    result = run(weights, "--images", classes, "--out", out, "--max-images", 2)
    assert result.exit_code == 0, result.output
    assert "accuracy under filtered input: the network has no classifier" in result.stderr
    (model,) = json.loads((out / "analysis.json").read_text())["models"]
    assert model["jacobian"]
    assert model["log_amplitude"]
    assert model["top1"] is None


@pytest.mark.usefixtures("undrawn")
def test_a_model_that_does_not_run_does_not_cost_the_others(
    checkpoint: Path, classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vision transformer whose patch embedding fails."""
    import timm.layers

    monkeypatch.setattr(timm.layers.PatchEmbed, "forward", lambda self, x: x.nothing)
    arguments = ("--images", classes, "--max-images", 2, "--no-pretrained")
    result = run(checkpoint, "--compare", "test_vit", *arguments, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "test_vit: not measured: it does not run on images of 3 x 160 x 160" in result.stderr
    models = json.loads((tmp_path / "out" / "analysis.json").read_text())["models"]
    assert models[0]["jacobian"]
    assert not models[1]["jacobian"]
    result = run("test_vit", *arguments, "--out", tmp_path / "none")
    assert isinstance(result.exception, UserError)
    assert "of which nothing can be measured: it does not run on images" in str(result.exception)
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("undrawn")
def test_models_that_cannot_be_had_are_gaps_beside_the_others(
    checkpoint: Path, classes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ["--images", classes, "--max-images", 2, "--no-pretrained", "--out", out]
    missing = ["resnet9000", "runs/none", "torchvision:vit_b_61", f"hf-dir:{tmp_path}"]
    compare = [part for name in missing for part in ("--compare", name)]
    result = run(checkpoint, *compare, *arguments)
    assert result.exit_code == 0, result.output
    models = json.loads((out / "analysis.json").read_text())["models"]
    assert models[0]["jacobian"]
    for model, words in zip(
        models[1:],
        ["SPANetV2 variant or a timm model", "runs/none", "did you mean", "save_pretrained"],
        strict=True,
    ):
        (gap,) = model["gaps"]
        assert gap["part"] == "the network"
        assert words in gap["reason"]
        assert f"not measured: {gap['reason']}" in result.stderr
    assert "no; see the gaps below" in (out / "index.html").read_text()
    result = run(missing[0], "--compare", missing[1], *arguments[:-1], tmp_path / "none")
    assert isinstance(result.exception, UserError)
    assert "resnet9000" in str(result.exception)
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("undrawn")
def test_all_models_are_loaded_before_one_is_measured_and_each_is_written(
    checkpoint: Path, classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm

    import spanetv2.analysis.model_study as study

    order: list[str] = []
    create, analyze = timm.create_model, study.analyze_model

    def created(name: str, **options: object) -> object:
        order.append(name)
        return create(name, **options)

    def measured(subject: study.ModelInput, *rest: object, **options: object) -> object:
        order.append(f"measure {subject.title}")
        if subject.title == "test_vit":
            raise KeyboardInterrupt
        return analyze(subject, *rest, **options)

    monkeypatch.setattr(timm, "create_model", created)
    monkeypatch.setattr(study, "analyze_model", measured)
    arguments = ["--images", classes, "--max-images", 2, "--no-pretrained"]
    run(checkpoint, "--compare", "test_vit", *arguments, "--out", tmp_path / "out")
    assert order[-3:] == ["test_vit", "measure weights.safetensors", "measure test_vit"]
    (only,) = json.loads((tmp_path / "out" / "analysis.json").read_text())["models"]
    assert only["jacobian"]


def save_hf(folder: Path, **processor: object) -> Path:
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        id2label={0: "cat", 1: "dog"},
        label2id={"cat": 0, "dog": 1},
    )
    ViTForImageClassification(config).save_pretrained(folder)
    if processor:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("prefix", ["", "hf-dir:"])
def test_a_folder_of_transformers_is_a_model(prefix: str, classes: Path, tmp_path: Path) -> None:
    folder = save_hf(tmp_path / "vit", size={"height": 32, "width": 32}, image_mean=[0.5] * 3)
    out = tmp_path / "out"
    result = run(f"{prefix}{folder}", "--images", classes, "--out", out)
    assert result.exit_code == 0, result.output
    (model,) = json.loads((out / "analysis.json").read_text())["models"]
    assert model["model"] == "vit"
    assert model["image_size"] == [32, 32]
    assert [m["kind"] for m in model["jacobian"]] == ["attention"]
    assert model["attention_maps"]
    assert model["top1"] is not None  # its classes are the folders' names


@pytest.mark.usefixtures("undrawn")
def test_a_network_of_torchvision_is_a_model(classes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--images", classes, "--max-images", 1, "--no-pretrained", "--out", out]
    result = run("torchvision:squeezenet1_1", *arguments)
    assert result.exit_code == 0, result.output
    (model,) = json.loads((out / "analysis.json").read_text())["models"]
    assert model["image_size"] == [224, 224]
    assert {m["kind"] for m in model["jacobian"]} == {"convolution"}
