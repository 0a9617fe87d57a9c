"""Tiny detection runs: a few scenes, a detector of 2 M parameters, a handful of batches."""

import csv
import json
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from training_runs import SceneRuns

from spanetv2.api import resolve_training
from spanetv2.cli.train import run_training
from spanetv2.errors import UserError
from spanetv2.models import create_model
from spanetv2.models.weights import save_weights
from spanetv2.tasks.detection.build import build_detector
from spanetv2.tasks.detection.data.coco import CocoDetection
from spanetv2.tasks.detection.data.layout import find_coco
from spanetv2.tasks.detection.evaluate import evaluate
from spanetv2.tasks.detection.weights import load_detector
from spanetv2.training.optimizer import build_optimizer
from spanetv2.training.recipes import find_recipe, list_recipes, recipe_task
from tests.support.small_runs import small_run

TINY = [
    *small_run("detection", "scenes/cascade_mask_rcnn"),
    "--detector.box_conv_channels=16",
    "--augmentation.crop=0.5",
    "--augmentation.crop_short_sides=[96,112]",
    "--augmentation.crop_sides=[64,96]",
    "--data.empty_classes=keep",  # so few scenes lack some digits
    "--checkpoints.every_steps=2",
    "--trainer.limit_train_batches=6",
]
"""2 epochs of 3 updates of 2 x 2 images."""


RUNS = SceneRuns(TINY)
train, spawn = RUNS.train, RUNS.spawn


@pytest.fixture(scope="module")
def finished(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return RUNS.finished(scenes, tmp_path_factory)


def test_a_run_leaves_a_detector_and_its_figures(finished: Path, scenes: Path) -> None:
    detector, record = load_detector(finished)
    assert record.classes == [str(digit) for digit in range(10)]
    assert record.extra["detector"]["system"] == "cascade_mask_rcnn"
    assert len(record.extra["category_ids"]) == 10
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["training"]["updates"] == 6
    source = CocoDetection(*find_coco(scenes, "val"))
    result = evaluate(detector, [([i], [t]) for i, t in source], classes=record.classes)
    assert metrics["box"] == result.to_json()["box"]
    assert metrics["mask"] == result.to_json()["mask"]
    with (finished / "logs" / "metrics.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    losses = [float(row["train/loss"]) for row in rows if row["train/loss"]]
    assert len(losses) == 6
    validated = [row for row in rows if row["val/box_ap"]]
    assert len(validated) == 2
    assert all(row["val/mask_ap50"] for row in validated)


def test_a_killed_run_goes_on_exactly(
    finished: Path, scenes: Path, tmp_path: Path, runs: Any
) -> None:
    out = tmp_path / "killed"
    workers = "--data.workers=1"
    killed = spawn(out, scenes, workers, runs.stopper(batch=9))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    saved = runs.load(out)
    place = {"epoch": 1, "image": 4, "order": 2}
    assert (saved["global_step"], saved["DetectionData"]) == (4, place)
    train(out, scenes, workers, "--resume")
    runs.assert_same_weights(finished, out)


def test_two_processes_share_the_images(scenes: Path, tmp_path: Path) -> None:
    out = tmp_path / "two"
    port = "--rdzv-endpoint=localhost:0"
    done = spawn(
        out,
        scenes,
        "--trainer.devices=2",
        "--schedule.warmup_updates=1",
        "--data.batch_size=2",
        "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=2",
        launcher=("-m", "torch.distributed.run", "--nproc-per-node=2", "--rdzv-backend=c10d", port),
    )
    assert done.returncode == 0, done.stderr
    assert "batch: 2 per device x 2 devices x 1 accumulated = 4" in done.stderr
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["images"] == 3  # of which one process saw two and the other one
    with (out / "logs" / "metrics.csv").open(newline="") as stream:
        last = list(csv.DictReader(stream))[-1]
    assert float(last["val/box_ap"]) == pytest.approx(metrics["box_ap"], abs=1e-6)


def test_weights_that_are_not_finite_stop_the_run(scenes: Path, tmp_path: Path, runs: Any) -> None:
    out = tmp_path / "poisoned"
    stopper = runs.stopper(batch=4, poison=True)
    with pytest.raises(UserError, match=r"(?i)nan|not finite"):
        train(out, scenes, stopper, "--trainer.max_epochs=1")
    state = runs.load(out)["state_dict"]
    assert all(value.isfinite().all() for value in state.values() if value.is_floating_point())


def config_of(*options: str) -> Any:
    recipe = TINY[1].removeprefix("--config=")
    return resolve_training("detection", [recipe, [*TINY[2:], *options]]).config


def test_a_detector_starts_from_a_classifier_or_a_detector(finished: Path, tmp_path: Path) -> None:
    torch.manual_seed(1)
    classifier = create_model("pico_pure", num_classes=4, img_size=96)
    save_weights(classifier, tmp_path / "classifier.safetensors")
    config = config_of(f"--weights={tmp_path / 'classifier.safetensors'}")
    state = build_detector(config, 10).state_dict()
    for name, value in classifier.state_dict().items():
        if name.startswith("stages."):
            assert torch.equal(state[f"pyramid.backbone.model.{name}"], value), name
    config = config_of(f"--weights={finished}")
    trained = load_detector(finished)[0].state_dict()
    state = build_detector(config, 10).state_dict()
    assert all(torch.equal(state[name], value) for name, value in trained.items())
    # for other classes everything but the last layers of the heads
    state = build_detector(config, 4).state_dict()
    same = [n for n, v in trained.items() if v.shape == state[n].shape]
    assert len(trained) - len(same) == 3 * 6
    assert all(torch.equal(state[name], trained[name]) for name in same)
    with pytest.raises(UserError, match=r"a detector on spanetv2_pico_pure, got model.name="):
        build_detector(config_of(f"--weights={finished}", "--model.name=nano_pure"), 10)
    with pytest.raises(UserError, match=r"weights of another detector"):
        build_detector(config_of(f"--weights={finished}", "--detector.fpn_channels=24"), 10)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--schedule.updates=100", "a detection run is counted in epochs"),
        ("--data.train_annotations=x.json", "given together with data.train_images"),
        ("--optimizer.layer_decay=0.7 --model.name=resnet10t --model.img_size=null", "layer_decay"),
        ("--detector.cascade_ious=[0.5,0.6]", "as many as cascade_stds"),
        ("--model.name=resnet10t --model.img_size=null --model.gate=sigmoid", "model.gate"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    scenes: Path, tmp_path: Path, option: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(tmp_path / "run", scenes, *option.split())


def test_annotation_files_may_lie_anywhere(scenes: Path, tmp_path: Path) -> None:
    files = {split: find_coco(scenes, split) for split in ("train", "val")}
    options = [
        f"--data.{split}_{what}={path}"
        for split, pair in files.items()
        for what, path in zip(("annotations", "images"), pair, strict=True)
    ]
    short = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2"]
    boxes = ["--schedule.warmup_updates=null", "--detector.masks=false"]
    run_training([*TINY, *options, *short, *boxes, f"--out={tmp_path / 'run'}"])
    detector, _ = load_detector(tmp_path / "run")
    assert not detector.options.masks


# recipes -----------------------------------------------------------------------------------------

PUBLISHED = {
    # learning rate, layer decay, drop path
    "mask_rcnn_s18_pure": (1e-4, 0.95, 0.2),
    "mask_rcnn_s18_hybrid": (1e-4, 0.95, 0.15),
    "cascade_mask_rcnn_s18_pure": (2e-4, 0.7, 0.2),
    "cascade_mask_rcnn_s18_hybrid": (2e-4, 0.7, 0.15),
    "cascade_mask_rcnn_s36_pure": (2e-4, 0.7, 0.3),
    "cascade_mask_rcnn_s36_hybrid": (2e-4, 0.7, 0.3),
}


def test_detection_recipes_are_these() -> None:
    found = {name for name, path in list_recipes().items() if recipe_task(path) == "detection"}
    coco = {f"coco/{name}_3x" for name in PUBLISHED}
    scenes = ("mask_rcnn", "cascade_mask_rcnn", "faster_rcnn", "cascade_rcnn")
    assert found == coco | {f"scenes/{name}" for name in scenes}


def recipe(name: str) -> tuple[Any, dict[str, Any]]:
    assert recipe_task(find_recipe(name)) == "detection"
    resolved = resolve_training("detection", name)
    return resolved.config, resolved.trainer_options


@pytest.mark.parametrize("name", PUBLISHED)
def test_coco_recipes_are_the_published_ones(name: str) -> None:
    lr, decay, drop_path = PUBLISHED[name]
    config, trainer = recipe(f"coco/{name}_3x")
    system, _, size, form = name.rpartition("_")[0].rpartition("_")[0], *name.rsplit("_", 2)
    assert config.model.name == f"spanetv2_{size}_{form}"
    assert config.detector.system == system
    assert config.model.drop_path == drop_path
    assert (config.optimizer.name, config.optimizer.lr) == ("adamw", lr)
    assert (config.optimizer.weight_decay, config.optimizer.layer_decay) == (0.05, decay)
    assert config.data.total_batch == 16
    assert trainer["max_epochs"] == 36
    assert str(trainer["precision"]) == "16-mixed"
    assert bool(trainer["sync_batchnorm"]) == (system == "cascade_mask_rcnn")
    schedule = config.schedule
    assert (schedule.name, schedule.decay_milestones, schedule.decay_rate) == (
        *("multistep", [27, 33], 0.1),
    )
    assert schedule.warmup_updates == 1000
    assert schedule.warmup_lr == pytest.approx(lr / 1000)
    augmentation = config.augmentation
    assert (augmentation.hflip, augmentation.crop, augmentation.long_side) == (0.5, 0.5, 1333)
    assert augmentation.short_sides == tuple(range(480, 801, 32))
    assert augmentation.crop_short_sides == (400, 500, 600)
    assert tuple(augmentation.crop_sides) == (384, 600)
    detector = config.detector
    assert (detector.min_size, detector.max_size) == (800, 1333)
    assert (detector.fpn_channels, detector.box_channels, detector.roi_samples) == (256, 1024, 512)


def test_the_optimizer_decays_rates_by_depth_and_weights_but_not_vectors() -> None:
    config, _ = recipe("coco/cascade_mask_rcnn_s18_hybrid_3x")
    from spanetv2.tasks.detection.model import create_detector
    from spanetv2.training.depth_decay import by_layers

    with torch.device("meta"):
        detector = create_detector("s18_hybrid", 80, config.detector)
    names = {id(p): n for n, p in detector.named_parameters()}
    optimizer = build_optimizer(
        detector, config.optimizer, lr_scale=by_layers("spanetv2_s18_hybrid").lr_scale(0.7)
    )
    groups = [
        (group["lr_scale"], group["weight_decay"], names[id(p)], p.ndim)
        for group in optimizer.param_groups
        for p in group["params"]
    ]
    assert len(groups) == len(names)
    assert {round(scale, 6) for scale, *_ in groups} == {round(0.7**i, 6) for i in range(8)}
    for scale, weight_decay, name, ndim in groups:
        assert weight_decay == (0.0 if ndim <= 1 or name.endswith(".bias") else 0.05), name
        if not name.startswith("pyramid.backbone."):
            assert scale == 1, name


@pytest.mark.parametrize("system", ["mask_rcnn", "cascade_mask_rcnn"])
def test_scenes_recipes_differ_in_the_system_alone(system: str) -> None:
    config, trainer = recipe(f"scenes/{system}")
    other, other_trainer = recipe("scenes/mask_rcnn")
    assert config.detector.system == system
    for group in ("model", "data", "augmentation", "optimizer", "schedule", "ema", "seed"):
        assert getattr(config, group) == getattr(other, group), group
    assert {k: v for k, v in trainer.items() if k != "sync_batchnorm"} == {
        k: v for k, v in other_trainer.items() if k != "sync_batchnorm"
    }
