"""Runs in the Hub's layout: what is written, what the card says, and who reads it."""

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import yaml
from hub_stub import READ_TOKEN, TOKEN, HubStub, go_offline, running_hub
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import load_file

import spanetv2
from spanetv2 import UserError, load_model, save_weights
from spanetv2.cli.main import main
from spanetv2.hub.card import MARK
from spanetv2.hub.run import write_run
from spanetv2.models.weights import read_checkpoint
from spanetv2.tasks.detection.model import DetectorOptions, create_detector
from spanetv2.tasks.detection.weights import load_detector, save_detector
from spanetv2.tasks.segmentation.model import HeadOptions, create_segmenter
from spanetv2.tasks.segmentation.weights import load_segmenter, save_segmenter

VERSIONS = {
    "command": "spanetv2 train classification --config finetune --data /home/me/flowers --out=~/r",
    "commit": "0123abc",
    "python": "3.12.1",
    "packages": {"torch": "2.15.0", "timm": "1.0.31", "spanetv2": "0.2.0"},
    "hardware": {"threads": 2, "processor": "Abacus", "machine": "wood"},
}
SMALL: dict[str, Any] = {"img_size": 32}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubStub]:
    with running_hub(monkeypatch, tmp_path / "cache") as stub:
        yield stub


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Any:
    """Run a command in this process: (exit status, standard output, standard error)."""

    def run(*arguments: object) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["spanetv2", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capfd.readouterr()
        return stopped.value.code or 0, said.out, said.err

    return run


def finish(folder: Path, figures: dict[str, Any], **config: Any) -> Path:
    """What a run leaves beside its weights."""
    data = {"dataset": "folder", "root": "/home/me/flowers", "val_split": "val"}
    config = {"out": "/home/me/r", "seed": 7, "weights": "/data/start.pth", "data": data, **config}
    training = {"epochs": 3, "updates": 1500, "seconds": 240.0, "weights_of": "the best epoch"}
    failures = [{"path": "/home/me/flowers/val/a.jpg", "reason": "damaged"}]
    metrics = {"images": 1234, **figures, "training": training, "failures": failures}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "versions.json").write_text(json.dumps(VERSIONS))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "logs").mkdir()
    rows = ["step,lr,train/loss,val/miou", "1,0.1,3.5,", "2,0.1,2.5,0.5"]
    (folder / "logs" / "metrics.csv").write_text("\n".join(rows))
    Image.new("RGB", (4, 4)).save(folder / "predictions.png")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of a classifier."""
    torch.manual_seed(0)
    model = spanetv2.create_model("pico_pure", num_classes=3, gate="scaled_sigmoid", **SMALL)
    images = {"input_size": [3, 32, 32], "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.2]}
    images |= {"interpolation": "bilinear", "crop_pct": 0.9, "crop_mode": "squash"}
    path = tmp_path / "run" / "weights.safetensors"
    save_weights(model, path, classes=["daisy", "a|b", "tulip"], preprocessing=images)
    return finish(path.parent, {"top1": 0.75, "top5": 1.0, "loss": 0.5})


def dense(folder: Path, task: str) -> Path:
    """A run of a segmenter or a detector."""
    torch.manual_seed(0)
    path = folder / task / "weights.safetensors"
    if task == "segmentation":
        segmenter = create_segmenter("pico_pure", 2, HeadOptions(width=16), **SMALL)
        colours = {"palette": [[0, 0, 0], [255, 0, 0]]}
        save_segmenter(segmenter, path, classes=["road", "sky"], **colours)
        return finish(path.parent, {"miou": 0.5, "pixel_accuracy": 0.9})
    light = DetectorOptions(fpn_channels=32, box_channels=64, mask_channels=32)
    detector = create_detector("pico_pure", 2, light, **SMALL)
    save_detector(detector, path, classes=["bolt", "nut"], category_ids=[3, 7])
    return finish(path.parent, {"box_ap": 0.5, "mask_ap": None})


def test_a_folder_is_written_without_any_network(
    command: Any, hub: HubStub, run: Path, tmp_path: Path
) -> None:
    status, told, _ = command("push", run, "--folder", tmp_path / "out")
    assert status == 0
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [
        *("README.md", "config.json", "metrics.json", "model.safetensors", "predictions.png"),
        *("recipe.yaml", "training_curves.png"),
    ]
    assert all(name in told for name in written)
    assert hub.requests == []
    same = (tmp_path / "out" / "model.safetensors").read_bytes()
    assert same == (run / "weights.safetensors").read_bytes()
    with Image.open(tmp_path / "out" / "training_curves.png") as drawn:
        assert drawn.width > 500


def test_the_card_tells_what_the_run_knows(run: Path, tmp_path: Path) -> None:
    write_run(run, tmp_path / "out", "me/flowers", licence="mit", limits=["Knows no roses."])
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    digest = hashlib.sha256((run / "weights.safetensors").read_bytes()).hexdigest()
    for line in (
        "# flowers",
        "spanetv2_pico_pure for classification: top-1 75.00 %, top-5 100.00 %.",
        "spanetv2 predict hf-hub:me/flowers image.png",
        'model = timm.create_model("hf-hub:me/flowers", pretrained=True)',
        f"| SHA-256 | `{digest}` |",
        "| input | RGB, 32 x 32 pixels; stem of stride 4 |",
        "| classes | daisy, a\\|b, tulip |",
        "| data | flowers |",
        "| started from | start.pth |",
        "| training | `spanetv2 train classification --config finetune --data flowers --out=r` |",
        "| seed | 7 |",
        "| length | 3 epochs, 1,500 updates, 4 minutes |",
        "| hardware | Abacus, wood |",
        "| versions | spanetv2 0.2.0, torch 2.15.0, timm 1.0.31 |",
        "| commit | 0123abc |",
        "| licence | mit |",
        "| top-1 | 75.00 % |",
        "| loss | 0.5000 |",
        "![Training curves](training_curves.png)",
        "![Predictions](predictions.png)",
        "Knows no roses.",
    ):
        assert f"\n{line}\n" in text
    assert "Measured on 1,234 images of the run's validation data (val), which it was not" in text
    assert "chosen on the same validation data, and flatter a little" in text
    data = ModelCard(text, ignore_metadata_errors=False).data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        *("mit", "spanetv2"),
        "image-classification",
    )
    assert data.eval_results is not None
    assert next((r.metric_type, r.metric_value, r.dataset_name) for r in data.eval_results) == (
        *("accuracy", 0.75),
        "flowers",
    )


def test_files_of_others_are_not_written_over(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("README.md", "config.json", "metrics.json"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_text("{}")
        with pytest.raises(UserError, match=f"whose {name} is of something else"):
            write_run(run, tmp_path / name)
        assert [path.name for path in (tmp_path / name).iterdir()] == [name]
    model, _ = load_model(run)
    with pytest.raises(UserError, match="the folder of a run, expected another"):
        spanetv2.save_pretrained(model, run)
    write_run(run, tmp_path / "out")
    (tmp_path / "out" / "README.md").write_text("My own.")
    files = write_run(run, tmp_path / "out", licence="mit")
    assert "README.md was not written by this package, and is kept" in caplog.text
    assert (tmp_path / "out" / "README.md").read_text() == "My own."
    assert tmp_path / "out" / "README.md" not in files


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("me/x/y",), "got me/x/y, expected OWNER/NAME alone"),
        (("me/x@v1",), "got me/x@v1, expected OWNER/NAME alone"),
        (("me/x", "--revision", "v1"), "got --revision with --folder, which reaches no Hub"),
        (("--public",), "got --private/--public with --folder"),
    ],
)
def test_what_a_push_could_not_use_is_refused_for_a_folder_too(
    words: tuple[str, ...],
    said: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = ["spanetv2", "push", str(run), *words, "--folder", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", line)
    with pytest.raises(SystemExit):
        main()
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_licence_is_said_alike_in_card_and_configuration(run: Path, tmp_path: Path) -> None:
    for licence in (None, "mit"):
        write_run(run, tmp_path / str(licence), licence=licence)
        config = json.loads((tmp_path / str(licence) / "config.json").read_text())
        assert config["pretrained_cfg"].get("license") == licence


def test_nothing_tells_where_it_was_made(run: Path, tmp_path: Path) -> None:
    for path in write_run(run, tmp_path / "out", "me/flowers"):
        if path.suffix in (".md", ".json", ".yaml"):
            text = path.read_text(encoding="utf-8")
            assert "/home" not in text, path
            assert "/data" not in text, path
            assert "a.jpg" not in text, path
    recipe = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())
    assert recipe["data"] == {"dataset": "folder", "val_split": "val"}
    assert recipe["weights"] == "start.pth"
    assert "out" not in recipe


def test_timm_transformers_and_we_read_it(run: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    out = tmp_path / "out"
    write_run(run, out)
    model, checkpoint = load_model(run)
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model(x)
        again, read = load_model(out)
        assert torch.equal(again(x), expected)
        assert (read.classes, read.preprocessing) == (checkpoint.classes, checkpoint.preprocessing)
        theirs = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
        assert torch.equal(theirs(x), expected)
        wrapped = transformers.AutoModelForImageClassification.from_pretrained(out).eval()
        torch.testing.assert_close(wrapped(x).logits, expected, rtol=1e-5, atol=1e-6)
    theirs_too = wrapped.timm_model.state_dict()
    assert all(torch.equal(theirs_too[name], v) for name, v in model.state_dict().items())
    assert wrapped.config.id2label == dict(enumerate(["daisy", "a|b", "tulip"]))
    config = timm.data.resolve_model_data_config(theirs)
    assert tuple(config["mean"]) == (0.4, 0.5, 0.6)
    assert (config["crop_mode"], config["crop_pct"]) == ("squash", 0.9)
    picture = Image.effect_noise((50, 40), 80).convert("RGB")
    processor = transformers.AutoImageProcessor.from_pretrained(out)
    shown = processor(picture)["pixel_values"][0]
    assert torch.equal(shown, timm.data.create_transform(**config)(picture))
    # and what transformers writes of it
    wrapped.save_pretrained(tmp_path / "theirs")
    back, read = load_model(f"local-dir:{tmp_path / 'theirs'}")
    with torch.no_grad():
        assert torch.equal(back(x), expected)
    assert read.classes == checkpoint.classes


def test_networks_of_timm_are_written_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=2).eval()
    save_weights(model, tmp_path / "run" / "weights.safetensors", classes=["a", "b"])
    write_run(tmp_path / "run", tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "\nlibrary_name: timm\n" in text
    again = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    x = torch.randn(2, 3, 160, 160)
    with torch.no_grad():
        assert torch.equal(again(x), model(x))


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_dense_runs_are_pushed_and_read(
    command: Any, hub: HubStub, tmp_path: Path, task: str
) -> None:
    folder = dense(tmp_path, task)
    status, told, _ = command("push", folder, f"me/{task}")
    assert status == 0, told
    load = {"segmentation": load_segmenter, "detection": load_detector}[task]
    model, checkpoint = load(f"hf-hub:me/{task}")
    expected = load_file(folder / "weights.safetensors")
    got = model.state_dict()
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], value) for name, value in expected.items())
    assert checkpoint.classes == read_checkpoint(folder).classes
    files = hub.repositories[f"me/{task}"].commits[-1]
    config = json.loads(files["config.json"])
    assert config["spanetv2"]["task"] == task
    card = files["README.md"].decode()
    assert f'("hf-hub:me/{task}")' in card
    assert ("| mIoU | 50.00 % |" in card) == (task == "segmentation")
    assert ("| box AP | 50.00 % |" in card) == (task == "detection")
    assert "mask AP" not in card


def test_a_push_makes_one_commit_and_the_next_another(
    command: Any, hub: HubStub, run: Path
) -> None:
    status, told, _ = command("push", run, "hf-hub:me/flowers", "--private", "--message", "first")
    assert (status, hub.messages) == (0, ["first"])
    assert hub.repositories["me/flowers"].private
    assert f"{hub.url}/me/flowers/commit/" in told
    assert (
        hub.repositories["me/flowers"].commits[-1]["model.safetensors"]
        == (run / "weights.safetensors").read_bytes()
    )
    with torch.no_grad():
        x = torch.randn(1, 3, 32, 32)
        assert torch.equal(load_model("hf-hub:me/flowers")[0](x), load_model(run)[0](x))
    assert command("push", run, "me/flowers", "--limits", "New.")[0] == 0
    card = hub.repositories["me/flowers"].commits[-1]["README.md"].decode()
    assert "\nNew.\n" in card
    # a card that its owner has taken over stays
    hub.add("me/flowers", {"README.md": card.replace(MARK, "Mine.").encode()})
    status, _, said = command("push", run, "me/flowers", "--message", "third")
    assert status == 0
    assert "README.md there was not written by this command, and is kept" in said
    assert b"Mine." in hub.repositories["me/flowers"].commits[-1]["README.md"]
    assert hub.messages[-1] == "third"


def test_what_cannot_be_pushed_is_one_line_and_changes_nothing(
    command: Any, hub: HubStub, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(expected: str, *arguments: object) -> None:
        before = {path: path.stat().st_mtime_ns for path in run.rglob("*")}
        status, _, said = command("push", *arguments)
        assert status == 1
        assert expected in said
        assert said.startswith("error: ")
        assert len(said.strip().splitlines()) == 1
        assert {path: path.stat().st_mtime_ns for path in run.rglob("*")} == before
        assert "me/flowers" not in hub.repositories

    refused("expected one of them", run)
    refused("expected hf-hub:OWNER/NAME", run, "flowers")
    refused("without weights.safetensors", tmp_path, "me/flowers")
    refused("expected a PNG file", run, "me/flowers", "--picture", run / "config.yaml")
    refused("the folder of the weights themselves", run, "--folder", run)
    refused("which is a file, expected a folder", run, "--folder", run / "config.yaml")
    refused("gives no right to write there", run, "them/flowers")
    torch.save(load_model(run)[0].state_dict(), tmp_path / "bare.pth")
    refused("a safetensors file that this package wrote", tmp_path / "bare.pth", "me/flowers")
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    refused("gives no right to write there", run, "me/flowers")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    refused("does not accept the token", run, "me/flowers")
    monkeypatch.delenv("HF_TOKEN")
    refused("no token for the Hub; log in with `hf auth login`", run, "me/flowers")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    go_offline(monkeypatch)
    refused("nothing was put on the Hub", run, "me/flowers")


def test_a_missing_branch_is_said(command: Any, hub: HubStub, run: Path) -> None:
    hub.add("me/flowers", {})
    status, _, said = command("push", run, "me/flowers", "--revision", "v2")
    assert (status, "no branch v2 there" in said) == (1, True)


def test_a_run_that_left_less_has_a_shorter_card(run: Path, tmp_path: Path) -> None:
    for name in ("config.yaml", "versions.json", "metrics.json", "predictions.png"):
        (run / name).unlink()
    (run / "logs" / "metrics.csv").unlink()
    write_run(run, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("README.md", "config.json", "model.safetensors")
    ]
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "Measured" not in text
    assert "| training" not in text
    assert "## Limits" in text
    shipped = tmp_path / "shipped"
    write_run("spanetv2_pico_pure.fashion_mnist", shipped)
    assert "top-1 93.39 %" in (shipped / "README.md").read_text(encoding="utf-8")
    with contextlib.chdir(tmp_path):
        assert read_checkpoint("local-dir:shipped").classes is not None


def test_the_recipe_can_be_trained_by(run: Path, tmp_path: Path) -> None:
    resolved = spanetv2.api.resolve_training("classification", "digits", out="/home/me/r")
    (run / "config.yaml").write_text(resolved.text)
    write_run(run, tmp_path / "out")
    again = spanetv2.api.resolve_training("classification", tmp_path / "out" / "recipe.yaml")
    first, second = (vars(each.config) for each in (resolved, again))
    differing = {key for key, value in first.items() if second[key] != value}
    assert differing == {"out"}
