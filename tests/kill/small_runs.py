"""A small run of every task, in which everything random is on."""

import os
from pathlib import Path

from spanetv2.scenes import SceneSettings, write_scenes

__all__ = ["SMALL_RUNS", "make_scenes", "options_of"]

_COMMON = [
    "--log_every=1",
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.enable_progress_bar=false",
    "--checkpoints.every_steps=2",
]
SMALL_RUNS = {
    "classification": [
        "--config=digits",
        "--model.drop_path=0.2",
        "--data.total_batch=16",
        "--data.batch_size=8",
        "--data.val_batch_size=60",
        "--augmentation.re_prob=0.5",
        "--mixing.mixup=0.4",
        "--mixing.cutmix=0.4",
        "--ema.decay=0.9",
        "--schedule.warmup_epochs=1",
        "--checkpoints.every_epochs=1",
        "--trainer.limit_train_batches=20",
        "--trainer.max_epochs=3",
    ],
    "segmentation": [
        "--config=scenes/segmentation",
        "--model.img_size=48",
        "--model.stem_stride=4",
        "--model.drop_path=0.2",
        "--head.width=8",
        "--head.neck=8",
        "--preprocessing.size=null",
        "--augmentation.crop=48",
        "--augmentation.scale=[0.5,1.0]",
        "--augmentation.photometric=0.5",
        "--data.total_batch=8",
        "--data.batch_size=4",
        "--data.val_batch_size=2",
        "--schedule.updates=20",
        "--schedule.validate_every=10",
        "--schedule.warmup_updates=1",
        "--ema.decay=0.9",
    ],
    "detection": [
        "--config=scenes/mask_rcnn",
        "--model.img_size=96",
        "--model.drop_path=0.2",
        "--detector.fpn_channels=16",
        "--detector.box_channels=32",
        "--detector.mask_convs=1",
        "--detector.mask_channels=16",
        "--detector.proposals_train=30",
        "--detector.proposals_test=30",
        "--detector.roi_samples=16",
        "--detector.detections=10",
        "--detector.min_size=96",
        "--detector.max_size=96",
        "--augmentation.hflip=0.5",
        "--augmentation.short_sides=[80,96]",
        "--augmentation.long_side=128",
        "--data.total_batch=4",
        "--data.batch_size=2",
        "--schedule.warmup_updates=2",
        "--trainer.max_epochs=2",
        "--trainer.limit_train_batches=20",
    ],
}
"""Options by task: 30, 20 and 20 updates, each of two passes."""


def options_of(task: str, scenes: str | os.PathLike[str]) -> list[str]:
    """Arguments of ``spanetv2 train`` but for the run folder."""
    data = [] if task == "classification" else [f"--data={os.fspath(scenes)}"]
    return [task, *SMALL_RUNS[task], *_COMMON, *data]


def make_scenes(folder: Path) -> Path:
    """60 scenes to train on and 6 held out, of 96 x 96 pixels."""
    return write_scenes(folder, train=60, val=6, settings=SceneSettings(size=96))
