"""Sides of images that no network can be shown are refused by name, before there is a run."""

from typing import Any

import pytest

from spanetv2.api import resolve_training
from spanetv2.errors import ConfigError
from spanetv2.training.config import LEAST_SIDE

OPTIONS: list[tuple[str, str, bool]] = [
    ("segmentation", "augmentation.crop", False),
    ("segmentation", "augmentation.crop", True),
    ("segmentation", "preprocessing.size", True),
    ("segmentation", "inference.window", False),
    ("detection", "augmentation.short_sides", True),
    ("detection", "augmentation.crop_short_sides", True),
    ("detection", "augmentation.crop_sides", True),
    ("detection", "detector.min_size", False),
]


@pytest.mark.parametrize(("task", "option", "several"), OPTIONS)
def test_sides_below_the_least_are_refused(task: str, option: str, several: bool) -> None:
    def resolve(side: int) -> Any:
        return resolve_training(task, {option: [side, side] if several else side})

    resolve(LEAST_SIDE)
    with pytest.raises(ConfigError, match=f"^{option} is .*, expected at least {LEAST_SIDE} pix"):
        resolve(LEAST_SIDE - 1)


def test_long_sides_below_the_least_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"augmentation\.(short_sides|long_side) is .*, expected"):
        resolve_training("detection", {"augmentation": {"long_side": 1, "short_sides": [1]}})
