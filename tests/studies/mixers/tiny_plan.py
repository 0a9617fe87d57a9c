"""A plan of seconds: 8x8 digits, four blocks, a handful of batches."""

from typing import Any

from studies.mixers.matching import Skeleton
from studies.mixers.plan import Plan

RECIPE: dict[str, Any] = {
    "log_every": 1,
    "data": {"dataset": "digits", "total_batch": 16, "val_split": None, "workers": 0},
    "preprocessing": {"input_size": [1, 8, 8], "mean": [0.3], "std": [0.4]},
    "augmentation": {"crop": "none", "hflip": 0.0, "interpolation": "bilinear"},
    "schedule": {"name": "cosine", "step": "update"},
    "trainer": {"max_epochs": 2, "limit_train_batches": 3},
}
"""2 epochs of 3 batches of 16."""

TINY = Plan(
    name="tiny",
    title="digits",
    skeleton=Skeleton(
        depths=(1, 1, 1, 1), dims=(16, 16, 32, 32), stem_stride=1, image=(1, 8, 8), num_classes=10
    ),
    rows=("spam", "sepconv"),
    seeds=(0,),
    recipe=RECIPE,
    jobs=2,
    filtered_images=32,
    probe_images=2,
)
