"""A small run of every task, in which everything random is on."""

import os
from pathlib import Path

from spanetv2.scenes import SceneSettings, write_scenes
from tests.support.small_runs import small_run

__all__ = ["SMALL_RUNS", "make_scenes", "options_of"]

_COMMON = ["--trainer.enable_progress_bar=false", "--checkpoints.every_steps=2"]
SMALL_RUNS = {
    "classification": [
        "--model.drop_path=0.2",
        "--data.batch_size=8",
        "--augmentation.re_prob=0.5",
        "--mixing.mixup=0.4",
        "--mixing.cutmix=0.4",
        "--ema.decay=0.9",
        "--trainer.limit_train_batches=20",
    ],
    "segmentation": [
        "--head.neck=8",
        "--schedule.updates=20",
        "--schedule.validate_every=10",
    ],
    "detection": [
        "--trainer.limit_train_batches=20",
    ],
}
"""What tasks add to ``small_run``: 30, 20 and 20 updates, each of two passes."""
_RECIPES = {
    "classification": "digits",
    "segmentation": "scenes/segmentation",
    "detection": "scenes/mask_rcnn",
}


def options_of(task: str, scenes: str | os.PathLike[str]) -> list[str]:
    """Arguments of ``spanetv2 train`` but for the run folder."""
    data = [] if task == "classification" else [f"--data={os.fspath(scenes)}"]
    return [*small_run(task, _RECIPES[task]), *SMALL_RUNS[task], *_COMMON, *data]


def make_scenes(folder: Path) -> Path:
    """60 scenes to train on and 6 held out, of 96 x 96 pixels."""
    return write_scenes(folder, train=60, val=6, settings=SceneSettings(size=96))
