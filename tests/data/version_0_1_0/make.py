"""One tiny run of every task, made by version 0.1.0: what it saved amid the run, and how it ended.

Run once, at version 0.1.0, from an environment with that version installed::

    python tests/data/version_0_1_0/make.py

It cannot be repeated with a later version, and refuses to: what is kept here is what 0.1.0 wrote
(``tests/training/test_version_0_1_0.py`` reads it). Each task has two folders:

    stopped/     the run after ``STOPPED[task]`` updates, amid an epoch, as ``--resume`` needs it:
                 the configuration, the last checkpoint with the optimiser's state, the log; and the
                 weights with their figures
    finished/    weights, figures and log of the same run that nothing stopped

``made.json`` has the options of the other commands, the scores of what the stopped run's detector
finds in the held-out scenes, and the packages and the processor of the time.

The commands ran in the folder of the data, so that the configurations name no place of one
machine. Left out of the runs' folders are the copies of the checkpoint, TensorBoard's events and
``versions.json``.

The dense tasks have a small ConvNeXt of timm's: 0.1.0 does not record a SPANetV2's depths and
widths in their weights, so that one as small as this could not be read back. Dense weights of 0.1.0
with a SPANetV2 are those in the package.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
VERSION = "0.1.0"
SCENES = ["--train=8", "--val=3", "--size=96", "--seed=0"]
SMALL = "depths: [1, 1, 1, 1], dims: [8, 8, 8, 8]"
ALL = [
    "--log_every=1",
    "--checkpoints.every_steps=0",
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
]
# Between them: mixup, an average of the weights, drop path, dropout, random augmentation,
# accumulation, a warm-up, AdamW and Muon, runs counted in epochs and in updates. The detector
# learns from all its anchors and proposals: drawing some would turn the least difference between
# two processors, which can change their number, into another draw.
TRAIN = {
    "classification": [
        "--config=digits",
        f"--model.kwargs={{{SMALL}}}",
        "--model.gate=scaled_sigmoid",
        "--model.drop_path=0.2",
        "--mixing.mixup=0.4",
        "--mixing.cutmix=0.4",
        "--optimizer.lr=1e-2",
        "--schedule.warmup_epochs=1",
        "--ema.decay=0.9",
        "--data.total_batch=16",
        "--data.batch_size=8",
        "--trainer.max_epochs=3",
        "--trainer.limit_train_batches=8",
    ],
    "segmentation": [
        "--config=scenes/segmentation",
        "--data=scenes",
        "--model.name=convnext_atto",
        f"--model.kwargs={{{SMALL}, ls_init_value: 1.0}}",
        "--model.img_size=null",
        "--model.drop_path=0.2",
        "--head.width=8",
        "--head.neck=8",
        "--head.auxiliary_width=8",
        "--head.dropout=0.1",
        "--preprocessing.size=[64,64]",
        "--augmentation.crop=64",
        "--augmentation.photometric=0.5",
        "--data.total_batch=4",
        "--data.batch_size=2",
        "--data.val_batch_size=1",
        "--data.workers=0",
        "--schedule.updates=12",
        "--schedule.validate_every=4",
        "--schedule.warmup_updates=2",
    ],
    "detection": [
        "--config=scenes/mask_rcnn",
        "--data=scenes",
        "--model.name=convnext_atto",
        f"--model.kwargs={{{SMALL}, ls_init_value: 1.0}}",
        "--model.img_size=null",
        "--model.drop_path=0.2",
        "--detector.fpn_channels=8",
        "--detector.box_channels=16",
        "--detector.mask_convs=1",
        "--detector.mask_channels=8",
        "--detector.proposals_train=30",
        "--detector.proposals_test=30",
        "--detector.rpn_samples=20000",
        "--detector.roi_samples=64",
        "--detector.roi_positive=1.0",
        "--detector.score_threshold=0.01",
        "--detector.min_size=96",
        "--detector.max_size=96",
        "--augmentation.hflip=0.5",
        "--augmentation.short_sides=[80,96]",
        "--augmentation.long_side=128",
        "--data.total_batch=4",
        "--data.batch_size=2",
        "--optimizer.lr=1e-2",
        "--schedule.warmup_updates=2",
        "--trainer.max_epochs=30",
        "--trainer.limit_train_batches=4",
    ],
}
STOPPED = {"classification": 6, "segmentation": 6, "detection": 53}
KEPT = {
    "stopped": (
        "config.yaml",
        "checkpoints/last.ckpt",
        "logs/metrics.csv",
        "weights.safetensors",
        "metrics.json",
    ),
    "finished": ("logs/metrics.csv", "weights.safetensors", "metrics.json"),
}
PREDICT = ["scenes/images/validation", "--score=0.05", "--out=found"]


def command(folder: Path, *arguments: str) -> str:
    """Run ``spanetv2`` in a folder, on one thread and without a GPU; gives what it printed."""
    program = Path(sysconfig.get_path("scripts")) / "spanetv2"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, str(program), *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def make(out: Path) -> None:
    """Make everything anew.

    Args:
        out: the folder of the results.
    """
    if version("spanetv2") != VERSION:
        sys.exit(f"got spanetv2 {version('spanetv2')}, expected {VERSION}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command(folder, "scenes", "scenes", *SCENES)
        for task, options in TRAIN.items():
            stop = f"--trainer.max_steps={STOPPED[task]}"
            for run, more in (("stopped", [stop]), ("finished", [])):
                command(folder, "train", task, *options, *ALL, *more, f"--out={task}/{run}")
                for kept in KEPT[run]:
                    target = out / task / run / kept
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(folder / task / run / kept, target)
        command(folder, "predict", "detection/stopped", *PREDICT)
        found = json.loads((folder / "found" / "results.json").read_text())
        versions = json.loads((folder / "detection" / "finished" / "versions.json").read_text())
    made = {
        "scenes": SCENES,
        "predict": PREDICT,
        "scores": sorted((round(row["score"], 4) for row in found), reverse=True),
        "stopped": STOPPED,
        "packages": versions["packages"],
        "hardware": {
            key: versions["hardware"][key] for key in ("machine", "processor", "instructions")
        },
    }
    (out / "made.json").write_text(json.dumps(made, indent=2) + "\n")


if __name__ == "__main__":
    make(HERE)
