"""Options that make a run of each task small: what tests of training, kills and inputs share."""

__all__ = ["small_run"]

_ONE_CPU = ["--trainer.accelerator=cpu", "--trainer.devices=1", "--log_every=1"]

_SMALL = {
    "classification": [
        "--data.total_batch=16",
        "--data.val_batch_size=60",
        "--schedule.warmup_epochs=1",
        "--checkpoints.every_epochs=1",
        "--trainer.max_epochs=3",
    ],
    "segmentation": [
        "--model.img_size=48",
        "--model.stem_stride=4",
        "--model.drop_path=0.2",
        "--head.width=8",
        "--preprocessing.size=null",
        "--augmentation.crop=48",
        "--augmentation.scale=[0.5,1.0]",
        "--augmentation.photometric=0.5",
        "--data.total_batch=8",
        "--data.batch_size=4",
        "--data.val_batch_size=2",
        "--schedule.warmup_updates=1",
        "--ema.decay=0.9",
    ],
    "detection": [
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
    ],
}


def small_run(task: str, config: str | None = None) -> list[str]:
    """First arguments of ``spanetv2 train``; later ones of the same name replace them.

    Args:
        task: of the run.
        config: recipe that it starts from.
    """
    recipe = [] if config is None else [f"--config={config}"]
    return [task, *recipe, *_SMALL[task], *_ONE_CPU]
