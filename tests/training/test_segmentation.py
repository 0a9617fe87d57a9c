"""Tiny segmentation runs: a few scenes, a model of 1 M parameters, a handful of batches."""

import csv
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from training_runs import SceneRuns

from spanetv2.api import resolve_training
from spanetv2.data.loader import eval_batches
from spanetv2.errors import UserError
from spanetv2.models import create_model
from spanetv2.models.weights import read_checkpoint, save_weights
from spanetv2.tasks.segmentation.build import build_segmenter
from spanetv2.tasks.segmentation.data.folder import DatasetSpec, open_dataset
from spanetv2.tasks.segmentation.data.transforms import EvalTransform, Preprocessing, collate_views
from spanetv2.tasks.segmentation.evaluate import evaluate
from spanetv2.tasks.segmentation.inference import Inference
from spanetv2.tasks.segmentation.learning import pixel_loss
from spanetv2.tasks.segmentation.weights import load_segmenter
from spanetv2.training.depth_decay import by_stages
from spanetv2.training.optimizer import build_optimizer
from spanetv2.training.recipes import find_recipe, list_recipes, recipe_task
from tests.support.small_runs import small_run

TINY = [
    *small_run("segmentation", "scenes/segmentation"),
    "--head.name=upernet",
    "--head.auxiliary_width=8",
    "--inference.window=64",
    "--schedule.updates=6",
    "--schedule.validate_every=3",
    "--checkpoints.every_steps=2",
]
"""6 updates of 2 x 4 images, validated after 3."""


RUNS = SceneRuns(TINY)
train, spawn = RUNS.train, RUNS.spawn


@pytest.fixture(scope="module")
def finished(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return RUNS.finished(scenes, tmp_path_factory)


def test_a_run_leaves_a_model_and_its_figures(finished: Path, scenes: Path) -> None:
    model, record = load_segmenter(finished)
    assert record.classes == ["background", *(str(digit) for digit in range(10))]
    assert record.extra["dataset"] == "ade20k"
    assert len(record.extra["palette"]) == 11
    assert Inference(**record.extra["inference"]) == Inference(window=64)
    settings = Preprocessing.from_dict(record.preprocessing)
    source = open_dataset(DatasetSpec(name="ade20k", root=str(scenes)), EvalTransform(settings))
    result = evaluate(
        model,
        eval_batches(source, batch_size=1, collate=collate_views),
        classes=record.classes,
        preprocessing=settings,
        inference=Inference(window=64),
    )
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["miou"] == pytest.approx(result.miou, abs=1e-4)
    assert metrics["images"] == 3
    assert record.extra["miou"] == metrics["miou"]
    assert metrics["training"]["updates"] == 6
    with (finished / "logs" / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len([row for row in rows if row["train/loss"]]) == 6
    validated = [row for row in rows if row["val/miou"]]
    assert [row["step"] for row in validated] == ["3", "6"]
    assert float(validated[-1]["val/miou"]) == pytest.approx(result.miou, abs=1e-4)
    rates = [float(row["lr"]) for row in rows if row["lr"]]
    assert max(rates) == pytest.approx(5e-3, rel=0.1)
    assert rates[-1] < 0.3 * max(rates)


def test_a_killed_run_goes_on_exactly(
    finished: Path, scenes: Path, tmp_path: Path, runs: Any
) -> None:
    out = tmp_path / "killed"
    workers = "--data.workers=1"
    killed = spawn(out, scenes, workers, runs.stopper(batch=9))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    saved = runs.load(out)
    place = {"epoch": 1, "image": 8, "order": 4}
    assert (saved["global_step"], saved["SegmentationData"]) == (4, place)
    train(out, scenes, workers, "--resume")
    runs.assert_same_weights(finished, out)


def test_two_processes_share_the_images(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "two"
    port = "--rdzv-endpoint=localhost:0"
    done = spawn(
        out,
        scenes,
        "--trainer.devices=2",
        "--trainer.sync_batchnorm=true",
        "--schedule.updates=2",
        "--schedule.validate_every=2",
        launcher=("-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d", port),
    )
    assert done.returncode == 0, done.stderr
    assert "batch: 4 per device x 2 devices x 1 accumulated = 8" in done.stderr
    with (out / "logs" / "metrics.csv").open(newline="") as stream:
        (validated,) = [row for row in csv.DictReader(stream) if row["val/miou"]]
    # Each process counted a part of the 3 images; the sum is what one process finds in all.
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["images"] == 3
    logged = float(validated["val/pixel_accuracy"])
    assert logged == pytest.approx(metrics["pixel_accuracy"], abs=1e-6), "six digits are logged"


def test_a_run_in_epochs(scenes: Path, tmp_path: Path) -> None:
    train(
        tmp_path / "epochs",
        scenes,
        *("--schedule.updates=null", "--schedule.validate_every=null", "--ema.decay=null"),
        *("--schedule.warmup_updates=null", "--trainer.max_epochs=1"),
    )
    metrics = json.loads((tmp_path / "epochs" / "metrics.json").read_text())
    assert metrics["training"]["epochs"] == 1
    assert metrics["training"]["updates"] == 1  # 14 images, 8 an update


def parsed(*options: str) -> Any:
    recipe = TINY[1].removeprefix("--config=")
    return resolve_training("segmentation", [recipe, [*TINY[2:], *options]]).config


def test_training_starts_from_a_classifier(tmp_path: Path) -> None:
    torch.manual_seed(3)
    classifier = create_model("pico_pure", num_classes=5, img_size=48)
    save_weights(classifier, tmp_path / "c.safetensors")
    config = parsed(f"--weights={tmp_path / 'c.safetensors'}")
    state = build_segmenter(config, 11).backbone.state_dict()
    for name, value in classifier.state_dict().items():
        if not name.startswith("head."):
            assert torch.equal(state[f"model.{name}"], value)


def test_training_starts_from_a_segmentation_model(finished: Path) -> None:
    config = parsed(f"--weights={finished}", "--model.img_size=96")
    model = build_segmenter(config, 4)  # another number of classes
    stored = read_checkpoint(finished).state_dict
    state = model.state_dict()
    kept = [name for name, value in state.items() if not torch.equal(value, stored[name])]
    assert {name.rsplit(".", 1)[0] for name in kept} <= {
        *("head.classifier.1", "auxiliary.classifier.1")
    }
    other = parsed(f"--weights={finished}", "--model.name=nano_pure")
    with pytest.raises(UserError, match="does not fit spanetv2_nano_pure"):
        build_segmenter(other, 11)


def test_bad_data_is_refused_before_training(scenes: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(scenes, broken)
    mask = sorted((broken / "annotations" / "training").glob("*.png"))[3]
    Image.new("L", (7, 7)).save(mask)
    with pytest.raises(UserError, match=rf"{mask.name}: 7 x 7 pixels"):
        train(tmp_path / "out", broken)
    mask.unlink()
    with pytest.raises(UserError, match="without a mask"):
        train(tmp_path / "out", broken)
    with pytest.raises(UserError, match="got one image per device, expected two or more"):
        train(tmp_path / "out", scenes, "--data.batch_size=1")
    with pytest.raises(
        UserError, match=r"class_weights of sky, expected names of .*background, 0, 1"
    ):
        train(tmp_path / "out", scenes, "--class_weights={sky: 2.0}")
    with pytest.raises(UserError, match=r"class_weights\.background.*above 0"):
        train(tmp_path / "out", scenes, "--class_weights={background: 0}")
    with pytest.raises(UserError, match=r"model\.stem_stride is an option of our own models"):
        train(tmp_path / "out", scenes, "--model.name=resnet10t")


def test_loss_is_a_mean_over_labelled_pixels() -> None:
    torch.manual_seed(0)
    scores = torch.randn(2, 3, 4, 5, requires_grad=True)
    labels = torch.randint(0, 3, (2, 4, 5), dtype=torch.uint8)
    labels[0, :, 2:] = 255
    log = scores.log_softmax(1).gather(1, labels.long().clamp(max=2)[:, None])[:, 0]
    expected = -log[labels != 255].mean()
    torch.testing.assert_close(pixel_loss(scores, labels), expected)
    nothing = pixel_loss(scores, torch.full_like(labels, 255))
    assert nothing.item() == 0
    nothing.backward()
    assert scores.grad is not None
    assert not scores.grad.any()


def test_class_weights_count_pixels() -> None:
    torch.manual_seed(0)
    scores = torch.randn(2, 3, 4, 5)
    labels = torch.randint(0, 3, (2, 4, 5), dtype=torch.uint8)
    labels[0, :, 2:] = 255
    torch.testing.assert_close(
        pixel_loss(scores, labels, torch.ones(3)), pixel_loss(scores, labels)
    )
    weights = torch.tensor([0.1, 1.0, 3.0])
    shifted = scores + weights.log()[:, None, None]
    log = shifted.log_softmax(1).gather(1, labels.long().clamp(max=2)[:, None])[:, 0]
    known = labels != 255
    weight = weights[labels[known].long()]
    expected = -(weight * log[known]).sum() / weight.sum()
    torch.testing.assert_close(pixel_loss(scores, labels, weights), expected)
    assert pixel_loss(scores, torch.full_like(labels, 255), weights).item() == 0


def test_class_weights_leave_the_best_scores_as_they_are() -> None:
    """Where nothing tells pixels apart, the best scores are the log frequencies of the labels."""
    labels = torch.tensor([0] * 90 + [1] * 8 + [2] * 2, dtype=torch.uint8).view(1, 10, 10)
    for weights in (None, torch.tensor([0.05, 1.0, 4.0])):
        bias = torch.zeros(3, requires_grad=True)
        solver = torch.optim.LBFGS([bias], max_iter=100, line_search_fn="strong_wolfe")

        def closure(bias=bias, solver=solver, weights=weights) -> float:
            solver.zero_grad()
            loss = pixel_loss(bias.view(1, 3, 1, 1).expand(1, 3, 10, 10), labels, weights)
            loss.backward()
            return loss.item()

        solver.step(closure)
        expected = torch.tensor([0.90, 0.08, 0.02])
        torch.testing.assert_close(bias.detach().softmax(0), expected, rtol=1e-3, atol=1e-4)


def test_stages_learn_slower_the_earlier_they_are() -> None:
    config = parsed("--optimizer.layer_decay=0.9", "--optimizer.lr=1.0")
    model = build_segmenter(config, 11)
    scale = by_stages("spanetv2_pico_pure").lr_scale(0.9)
    optimizer = build_optimizer(model, config.optimizer, lr_scale=scale)
    found = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            found[parameter] = (group["lr_scale"], group["weight_decay"])
    expected = {"stem": 0, "downsample": 0, "stages.0": 1, "stages.1": 2, "stages.2": 3}
    expected |= {"stages.3": 4}
    for name, parameter in model.named_parameters():
        keys = [key for key in expected if key in name] if name.startswith("backbone") else []
        layer = 8 if not keys else min(expected[key] for key in keys)
        plain = parameter.ndim <= 1 or name.endswith(".bias")
        assert found[parameter] == (pytest.approx(0.9 ** (8 - layer)), 0.0 if plain else 0.05), name
    deep = by_stages("spanetv2_s36_hybrid").lr_scale(0.9)
    assert deep("backbone.model.stages.3.blocks.2.mlp.fc1.weight") == pytest.approx(0.9**8)
    assert deep("backbone.model.feature_norms.0.weight") == 1
    with pytest.raises(UserError, match="known for our own backbones only"):
        by_stages("resnet10t")


NAMES = sorted(
    f"ade20k/{head}_{size}_{form}"
    for head in ("semantic_fpn", "upernet")
    for size in ("s18", "s36")
    for form in ("pure", "hybrid")
)
DROP_PATH = {"s18_pure": 0.2, "s18_hybrid": 0.15, "s36_pure": 0.3, "s36_hybrid": 0.3}


def test_recipes_are_these() -> None:
    found = {name for name, path in list_recipes().items() if recipe_task(path) == "segmentation"}
    assert found == {*NAMES, "scenes/segmentation"}


@pytest.mark.parametrize("name", NAMES)
def test_ade20k_recipe_is_the_published_one(name: str) -> None:
    assert recipe_task(find_recipe(name)) == "segmentation"
    resolved = resolve_training("segmentation", name)
    config, trainer = resolved.config, resolved.trainer_options
    head, variant = name.removeprefix("ade20k/").split("_s", 1)
    variant = f"s{variant}"
    upernet = head == "upernet"
    assert config.model.name == f"spanetv2_{variant}"
    assert config.model.drop_path == DROP_PATH[variant]
    assert config.head.name == head
    assert config.head.width == (512 if upernet else None)
    assert config.head.auxiliary is None
    assert config.auxiliary_weight == 0.4
    optimizer = config.optimizer
    assert (optimizer.name, optimizer.lr) == ("adamw", 1e-4 if upernet else 2e-4)
    assert (optimizer.weight_decay, optimizer.decay_all) == (
        (0.05, False) if upernet else (1e-4, True)
    )
    assert optimizer.layer_decay == (0.9 if upernet else None)
    schedule = config.schedule
    assert (schedule.name, schedule.decay_rate) == ("poly", 1.0 if upernet else 0.9)
    assert (schedule.updates, schedule.min_lr) == (160_000 if upernet else 40_000, 0.0)
    assert schedule.warmup_updates == (1500 if upernet else None)
    if upernet:
        assert schedule.warmup_lr == pytest.approx(1e-6 * optimizer.lr)
    assert (config.data.dataset, config.data.total_batch) == ("auto", 16 if upernet else 32)
    assert config.preprocessing.size == (2048, 512)
    augmentation = config.augmentation
    assert (augmentation.scale, augmentation.crop) == ((0.5, 2.0), 512)
    assert (augmentation.max_share, augmentation.hflip) == (0.75, 0.5)
    assert (augmentation.photometric, augmentation.brightness) == (0.5, 32.0)
    assert (augmentation.contrast, augmentation.saturation, augmentation.hue) == (0.5, 0.5, 0.1)
    expected = Inference(window=512, stride=341) if upernet else Inference()
    assert config.inference == expected
    assert str(trainer["precision"]) == "16-mixed"
    assert trainer["sync_batchnorm"] is True
