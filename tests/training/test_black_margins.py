"""Shipped recipes train on images with black margins: gradients stay as large as on whole ones."""

import csv
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import spanetv2
from spanetv2.scenes import SceneSettings, write_scenes

SMALL_IMAGES = {
    "data.workers": 0,
    "model.name": "spanetv2_pico_pure",
    "model.drop_path": 0.0,
    "log_every": 1,
    "trainer.accelerator": "cpu",
    "trainer.devices": 1,
    "trainer.precision": "32-true",
    "data.val_split": None,
}
PICTURES = {
    **SMALL_IMAGES,
    "data.total_batch": 4,
    "data.batch_size": None,
    "preprocessing.input_size": [3, 48, 48],
    "optimizer.lr": 1e-4,
    "schedule.warmup_lr": 1e-6,
    "schedule.warmup_epochs": 0,
    "schedule.cooldown_epochs": 0,
    "schedule.min_lr": 0.0,
    "trainer.max_epochs": 1,
}
SEGMENTED = {
    **SMALL_IMAGES,
    "data.total_batch": 2,
    "data.batch_size": None,
    "model.img_size": 64,
    "head.width": 8,
    "augmentation.crop": 96,
    "preprocessing.size": [64, 64],
    "schedule.updates": 4,
    "schedule.validate_every": 4,
    "schedule.warmup_updates": 1,
}
DETECTED = {
    **SMALL_IMAGES,
    "data.total_batch": 2,
    "data.batch_size": None,
    "model.img_size": 64,
    "detector.fpn_channels": 8,
    "detector.box_channels": 8,
    "detector.mask_channels": 8,
    "detector.mask_convs": 1,
    "detector.rpn_samples": 32,
    "detector.roi_samples": 16,
    "detector.min_size": 96,
    "detector.max_size": 128,
    "augmentation.short_sides": [64, 96],
    "augmentation.long_side": 128,
    "augmentation.crop": 0.0,
    "schedule.warmup_updates": 1,
    "trainer.max_epochs": 1,
    "trainer.limit_train_batches": 4,
    "data.empty_classes": "keep",  # eight scenes lack some digits
}
RECIPES = [
    ("classification", "finetune", PICTURES),
    ("classification", "imagenet/s18_pure", PICTURES),
    ("segmentation", "scenes/segmentation", SEGMENTED),
    ("segmentation", "ade20k/semantic_fpn_s18_pure", SEGMENTED),
    ("segmentation", "ade20k/upernet_s18_pure", SEGMENTED),
    ("detection", "scenes/mask_rcnn", DETECTED),
    ("detection", "scenes/cascade_mask_rcnn", DETECTED),
    ("detection", "coco/mask_rcnn_s18_pure_3x", DETECTED),
    ("detection", "coco/cascade_mask_rcnn_s18_pure_3x", DETECTED),
]


@pytest.fixture(scope="module")
def black(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Scenes and pictures, of which the right and the lower part are black."""
    root = tmp_path_factory.mktemp("black")
    scenes = write_scenes(root / "scenes", train=8, val=1, settings=SceneSettings(size=96))
    rng = np.random.default_rng(0)
    for index in range(16):
        folder = root / "pictures" / "train" / "ab"[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    for path in [*scenes.rglob("*.jpg"), *root.rglob("*.png")]:
        with Image.open(path) as image:
            if image.mode != "RGB":
                continue  # a label map
            pixels = np.array(image)
        pixels[len(pixels) // 2 :] = pixels[:, len(pixels[0]) // 2 :] = 0
        Image.fromarray(pixels).save(path)
    pictures = root / "pictures"
    return {"classification": pictures, "segmentation": scenes, "detection": scenes}


@pytest.mark.parametrize(("task", "recipe", "overrides"), RECIPES)
def test_a_recipe_trains_on_images_with_black_margins(
    task: str, recipe: str, overrides: dict[str, Any], tmp_path: Path, black: dict[str, Path]
) -> None:
    out = tmp_path / "run"
    result = spanetv2.train(task, recipe, data=black[task], out=out, overrides=overrides)
    with (out / "logs" / "metrics.csv").open(newline="") as stream:
        norms = [float(row["train/gradient_norm"]) for row in csv.DictReader(stream)]
    assert len(norms) >= 4
    assert all(math.isfinite(norm) and 0 < norm < 1e4 for norm in norms), norms
    assert result.metrics["training"]["updates_without_finite_gradients"] == 0


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", ["margin", "black", "constant"])
def test_gradients_are_as_large_as_on_a_whole_image(kind: str, channels: int) -> None:
    generator = torch.Generator().manual_seed(1)
    whole = torch.randn(2, channels, 64, 64, generator=generator)
    images = whole.clone()
    if kind == "margin":
        images[:, :, 32:] = images[..., 32:] = 0
    else:
        images.fill_(0.7 if kind == "constant" else 0)
    norms = []
    for batch in (whole, images):
        torch.manual_seed(0)
        model = spanetv2.create_model("pico_pure", num_classes=3, img_size=64, in_chans=channels)
        F.cross_entropy(model(batch), torch.tensor([0, 1])).backward()
        norms.append(float(torch.nn.utils.get_total_norm([p.grad for p in model.parameters()])))
    assert norms[1] < 5 * norms[0], norms
