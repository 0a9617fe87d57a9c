"""Every shipped recipe loads, and the ImageNet ones say what was published."""

from typing import Any

import pytest

from spanetv2.api import resolve_training
from spanetv2.errors import UserError
from spanetv2.models import VARIANTS
from spanetv2.training.batching import plan_batches
from spanetv2.training.recipes import describe_recipe, find_recipe, list_recipes, recipe_task

PUBLISHED = {
    # optimiser, learning rate, drop path, mixed precision
    "s18_pure": ("adamw", 4e-3, 0.2, True),
    "s18_hybrid": ("lamb", 8e-3, 0.15, True),
    "s36_pure": ("adamw", 4e-3, 0.3, False),
    "s36_hybrid": ("lamb", 8e-3, 0.3, True),
    "m36_pure": ("adamw", 4e-3, 0.4, True),
    "m36_hybrid": ("lamb", 8e-3, 0.4, False),
    "b36_pure": ("adamw", 4e-3, 0.6, True),
    "b36_hybrid": ("lamb", 8e-3, 0.6, False),
}


def _load(name: str) -> tuple[Any, dict[str, Any]]:
    task = recipe_task(find_recipe(name))
    assert task is not None
    resolved = resolve_training(task, name)
    return resolved.config, resolved.trainer_options


def test_recipes_are_these() -> None:
    imagenet = {f"imagenet/{name}" for name in PUBLISHED}
    # those of detection and segmentation have tests of their own
    dense = ("coco/", "ade20k/", "scenes/")
    found = {name for name in list_recipes() if not name.startswith(dense)}
    assert found == imagenet | {"digits", "fashion_mnist", "finetune"}


@pytest.mark.parametrize("name", sorted(list_recipes()))
def test_recipe_loads_and_describes_itself(name: str) -> None:
    config, trainer = _load(name)
    assert config.model.name in VARIANTS
    assert trainer["max_epochs"] > 0
    assert len(describe_recipe(list_recipes()[name])) > 20


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_imagenet_recipe_is_the_published_one(name: str) -> None:
    optimizer, lr, drop_path, mixed = PUBLISHED[name]
    config, trainer = _load(f"imagenet/{name}")
    assert config.model.name == f"spanetv2_{name}"
    assert config.model.drop_path == drop_path
    assert (config.optimizer.name, config.optimizer.lr) == (optimizer, lr)
    assert config.optimizer.weight_decay == 0.05
    assert not config.optimizer.decay_all
    assert config.optimizer.layer_decay is None
    assert config.optimizer.kwargs == ({"max_grad_norm": 1.0} if optimizer == "lamb" else {})
    assert trainer["gradient_clip_val"] is None
    assert str(trainer["precision"]) == ("16-mixed" if mixed else "32-true")
    assert trainer["max_epochs"] == 310
    schedule = config.schedule
    assert (schedule.name, schedule.step) == ("cosine", "epoch")
    assert (schedule.warmup_epochs, schedule.warmup_lr) == (20, 1e-6)
    assert (schedule.cooldown_epochs, schedule.min_lr) == (10, 1e-5)
    mixing = config.mixing
    assert (mixing.mixup, mixing.cutmix, mixing.prob, mixing.switch_prob) == (0.8, 1.0, 1.0, 0.5)
    assert (mixing.mode, mixing.label_smoothing) == ("batch", 0.1)
    augmentation = config.augmentation
    assert augmentation.crop == "rrc"
    assert augmentation.auto_augment == "rand-m9-mstd0.5-inc1"
    assert (augmentation.re_prob, augmentation.re_mode, augmentation.re_count) == (0.25, "pixel", 1)
    assert (augmentation.hflip, augmentation.vflip) == (0.5, 0.0)
    assert augmentation.scale == (0.08, 1.0)
    assert augmentation.ratio == pytest.approx((3 / 4, 4 / 3))
    assert augmentation.interpolation == "random"
    assert config.preprocessing.input_size == (3, 224, 224)
    assert config.preprocessing.crop_pct == 1.0
    assert config.preprocessing.interpolation == "bicubic"
    assert config.ema.decay is None
    assert config.seed == 42
    assert config.data.total_batch == 4096
    for devices in (1, 4, 8, 16):
        plan = plan_batches(4096, devices=devices, per_device=config.data.batch_size, even=True)
        assert plan.total == 4096


def test_find_recipe_suggests_close_names() -> None:
    assert find_recipe("recipes/digits.yaml").name == "digits.yaml"
    with pytest.raises(UserError, match="did you mean imagenet/s18_pure"):
        find_recipe("imagenet/s18_pur")
