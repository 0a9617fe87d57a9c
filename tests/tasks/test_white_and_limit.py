"""Grey images of more than 8 bits, and images beyond the limit, in a run and after it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import spanetv2
from spanetv2.data.white import deep_images
from spanetv2.errors import UserError
from spanetv2.models import load_model
from spanetv2.models.weights.read import read_checkpoint
from spanetv2.models.weights.save import save_weights

WHITE = 1023
TINY = {
    "model.name": "spanetv2_pico_pure",
    "data.total_batch": 2,
    "data.workers": 0,
    "trainer.accelerator": "cpu",
    "trainer.devices": 1,
    "trainer.enable_progress_bar": False,
}


def save_deep(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.full((32, 32), shade, dtype=np.uint16)
    grey[:4, :4] = 1000  # the brightest of all: white is 1023
    Image.fromarray(grey).save(path)


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    root = tmp_path_factory.mktemp("deep")
    for split in ("train", "val"):
        for i, shade in enumerate((100, 120, 800, 850)):
            save_deep(root / split / ("dark" if shade < 500 else "light") / f"{i}.png", shade)
    options = {**TINY, "preprocessing.input_size": [1, 32, 32], "trainer.max_epochs": 1}
    return root, spanetv2.train(
        "classification", {}, data=str(root), out=str(root / "run"), overrides=options
    )


@pytest.fixture(scope="module")
def segmented(tmp_path_factory):
    root = tmp_path_factory.mktemp("deep_maps")
    for split in ("train", "val"):
        for i, shade in enumerate((200, 700)):
            save_deep(root / "images" / split / f"{i}.png", shade)
            mask = np.zeros((32, 32), dtype=np.uint8)
            mask[8:, 8:] = 1
            (root / "masks" / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(mask).save(root / "masks" / split / f"{i}.png")
    (root / "classes.txt").write_text("paper\nink\n")
    options = {
        **TINY,
        "model.img_size": 32,
        "head.name": "semantic_fpn",
        "head.width": 16,
        "preprocessing.size": [32, 32],
        "augmentation.crop": 32,
        "schedule.updates": 1,
        "schedule.validate_every": 1,
    }
    return root, spanetv2.train(
        "segmentation", {}, data=str(root), out=str(root / "run"), overrides=options
    )


@pytest.mark.parametrize("kind", ["classified", "segmented"])
def test_white_is_stored_with_the_weights(kind, request):
    _, run = request.getfixturevalue(kind)
    checkpoint = read_checkpoint(run.folder)
    assert (checkpoint.preprocessing or {})["white"] == WHITE


def test_white_of_the_weights_is_used_in_evaluation_and_prediction(classified, tmp_path):
    root, run = classified
    done = spanetv2.evaluate(run.folder, str(root), device="cpu")
    assert done.measurement.to_json()["loss"] == pytest.approx(run.metrics["loss"], rel=1e-4)
    model, _ = load_model(run.folder)
    save_weights(model, tmp_path / "again.safetensors")  # what was loaded knows it, too
    save_weights(model, tmp_path / "old.safetensors", preprocessing=plain(run.folder))
    answers = {}
    for name in ("again", "old"):
        found = spanetv2.predict(tmp_path / f"{name}.safetensors", str(root / "val"), device="cpu")
        answers[name] = [row["predictions"][0]["probability"] for row in found.records]
    direct = spanetv2.predict(run.folder, str(root / "val"), device="cpu")
    expected = [row["predictions"][0]["probability"] for row in direct.records]
    assert answers["again"] == expected
    assert answers["old"] != expected  # without it white is 65535


def plain(folder: Path) -> dict[str, object]:
    recorded = dict(read_checkpoint(folder).preprocessing or {})
    del recorded["white"]
    return recorded


def test_white_shows_in_pictures_of_label_maps(segmented, tmp_path):
    root, run = segmented
    spanetv2.predict(run.folder, str(root / "images" / "val"), out=tmp_path / "p", device="cpu")
    with Image.open(tmp_path / "p" / "overlays" / "1.jpg") as opened:
        assert np.asarray(opened)[:32, :32].max() > 120  # 700 of 1023, under a colour
    done = spanetv2.evaluate(run.folder, str(root), device="cpu")
    assert done.figures["miou"] == pytest.approx(run.metrics["miou"])


def test_white_can_be_said_and_has_a_range(classified):
    root, _ = classified
    options = {**TINY, "trainer.max_epochs": 1, "preprocessing.white": 70000}
    with pytest.raises(UserError, match="got white 70000, expected 1 to 65535"):
        spanetv2.train("classification", {}, data=str(root), out="x", overrides=options)


@pytest.mark.parametrize("kind", ["classified", "segmented"])
def test_the_limit_of_pixels_can_be_moved(kind, request, tmp_path):
    root, run = request.getfixturevalue(kind)
    images = root / ("val" if kind == "classified" else "images/val")
    low, high = {"max_pixels": 1023}, {"max_pixels": 1024}
    writes = kind != "classified"
    more = {"out": tmp_path / "p"} if writes else {}
    refused = spanetv2.predict(run.folder, str(images), device="cpu", **low, **more)
    assert refused.failed == refused.images + refused.failed > 0
    assert (
        "raise the limit: --max-pixels 1024 (with --overwrite where --out has results of another "
        "limit), in training --data.max_pixels 1024"
    ) in refused.failures[0].reason
    if writes:
        with pytest.raises(UserError, match=r"max_pixels 1023, not 1024.*--overwrite"):
            spanetv2.predict(run.folder, str(images), device="cpu", **high, **more)
        more["overwrite"] = True
    assert not spanetv2.predict(run.folder, str(images), device="cpu", **high, **more).failed
    measured = spanetv2.evaluate(run.folder, str(root), device="cpu", **high)
    assert not measured.measurement.failed


def test_files_of_eight_bits_are_not_opened_to_find_deep_ones(tmp_path):
    save_deep(tmp_path / "a.png", 5)
    Image.new("L", (4, 4)).save(tmp_path / "b.png")
    paths = [str(tmp_path / name) for name in ("a.png", "b.png", "gone.jpg", "gone.png")]
    assert deep_images(paths) == paths[:1]
