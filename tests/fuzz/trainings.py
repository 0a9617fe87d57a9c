"""Short trainings on made data: they learn from as much as they say, and that is what is there.

Images, masks and annotation files are those of the other kinds, fed to ``train`` for two updates.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.fuzz import classes, coco, masks
from tests.fuzz.judge import number_in
from tests.fuzz.pictures import seldom, shown_size
from tests.fuzz.worker import Outcome
from tests.support.small_runs import small_run

SHARE = 3
_TINY = {
    "classification": [
        *("--data.total_batch=1", "--model.img_size=32", "--preprocessing.input_size=[3,32,32]"),
        *("--schedule.warmup_epochs=0", "--trainer.max_epochs=1", "--mixing.mixup=0"),
        *("--mixing.cutmix=0",),
    ],
    "segmentation": [
        *("--data.total_batch=2", "--data.batch_size=2", "--data.val_split=null", "--head.neck=8"),
        *("--schedule.updates=2", "--schedule.validate_every=2", "--data.dataset=folder"),
        "--class_weights={}",
    ],
    "detection": [
        *("--data.total_batch=2", "--data.batch_size=2", "--data.val_split=null"),
        *("--detector.min_size=64", "--trainer.max_epochs=1"),
        *("--schedule.warmup_updates=1", "--trainer.limit_train_batches=2"),
    ],
}
_RECIPES = {"segmentation": "scenes/segmentation", "detection": "scenes/mask_rcnn"}
_NETWORK = ["--model.name=spanetv2_pico_pure", "--model.drop_path=0"]
_NETWORK += ["--model.kwargs", "{depths: [1, 1, 1, 1], dims: [8, 16, 24, 32]}"]
_USUAL = ["--trainer.enable_progress_bar=false", "--data.empty_classes=keep", "--out=run"]


@st.composite
def recipes(draw: Any) -> dict[str, Any]:
    task = draw(st.sampled_from(sorted(_TINY)))
    kinds: dict[str, Any] = {"classification": classes, "segmentation": masks, "detection": coco}
    data = draw(kinds[task].recipes())
    usual: dict[str, Any] = {
        "classification": {"csv": "", "damage": []},
        "segmentation": {"layout": "split", "classes": "few"},
        "detection": {
            "command": "check-train",
            "damage": [],
            "dropped": [],
            "objects": [[0, 0, [1, 1, 20, 20], "polygon"], *data.get("objects", [])],
            "edits": draw(seldom(st.just(data.get("edits")), [], one_in=4)),
        },
    }
    return {"task": task, "data": {**data, **usual[task]}}


def build(recipe: dict[str, Any], folder: Path) -> list[str]:
    task, made = recipe["task"], recipe["data"]
    if task == "classification":
        classes.build(made, folder)
    elif task == "segmentation":
        masks.write_pairs(made, folder / "data")
    else:
        coco.write_coco(made, folder / "data", "train")
    options = [*small_run(task, _RECIPES.get(task)), *_TINY[task], *_NETWORK, *_USUAL]
    return ["train", *options, "--data", "data"]


def judge(recipe: dict[str, Any], folder: Path, outcome: Outcome) -> list[str]:
    if outcome.status != 0:
        return []  # refused
    if not (folder / "run" / "weights.safetensors").is_file():
        return ["trained, and left no weights"]
    said = " ".join(outcome.err.split())
    if recipe["task"] == "classification":
        return _judge_classes(recipe["data"], folder, said)
    if recipe["task"] == "segmentation":
        return _judge_masks(recipe["data"], folder, outcome, said)
    return _judge_objects(recipe["data"], folder, outcome.err)


def _judge_classes(made: dict[str, Any], folder: Path, said: str) -> list[str]:
    for split, name in (("train", "training"), ("val", "validation")):
        files = [
            path
            for path in classes.files_of(made, folder)
            if path.parts[-3] == split and "/." not in str(path.relative_to(folder))
        ]
        if number_in(said, rf"([\d,]+) {name}\b") != len(files):
            return [f"{len(files)} {name} images are there, and another number is said"]
        broken = [path.name for path in files if shown_size(path) is None]
        if unsaid := [name for name in broken if name not in said]:
            return [f"learned from {unsaid[0]!r} without a word, which Pillow cannot decode"]
    return []


def _judge_masks(made: dict[str, Any], folder: Path, outcome: Outcome, said: str) -> list[str]:
    counts, faults = masks.used_pairs(made, folder, outcome)
    if faults or number_in(said, r"([\d,]+) training") != len(counts):
        return faults or [f"{len(counts)} masks are there, and another number is said"]
    total = np.sum(counts, axis=0)
    names = (folder / "data" / "classes.txt").read_text().split()
    labelled = total[: len(names)].sum() or 1
    for place, name in enumerate(names):
        share = 100 * total[place] / labelled
        shown = re.search(rf"\b{name} (< )?([\d.]+) %", said)
        if shown is None or not math.isclose(float(shown[2]), share, abs_tol=0.06):
            return [f"{name} has {share:.2f} % of the pixels, {shown and shown[0]!r} is said"]
    return []


def _judge_objects(made: dict[str, Any], folder: Path, said: str) -> list[str]:
    counted = coco.counted_in(folder / "data/annotations/instances_train2017.json")
    if counted is None:
        return []  # what pycocotools does not read
    images = number_in(said, r"([\d,]+) training") or 0
    if made["edits"] or made["dropped"]:
        return []  # sizes may be measured anew, and boxes scaled
    if images != len(counted.learned):
        return [f"learns from {images} images, {len(counted.learned)} have something to learn"]
    listed = re.search(r"left out of training: (.*)", said)
    parts = re.sub(r"\([^)]*\)", "", listed[1]).split(", ") if listed else []
    numbers = [(int(part.split()[0]), "images" in part.split()[1]) for part in parts]
    left_images = sum(number for number, of_images in numbers if of_images)
    left_objects = sum(number for number, of_images in numbers if not of_images)
    if images + left_images != counted.images:
        return [f"{left_images} images are said to be left out, {counted.images - images} are"]
    if counted.trained.total() + left_objects != counted.objects.total():
        left = counted.objects.total() - counted.trained.total()
        return [f"{left_objects} objects are said to be left out, {left} are"]
    return []
