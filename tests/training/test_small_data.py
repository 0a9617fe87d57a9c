"""The recipe for one's own images on a set that is smaller than its total batch."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from spanetv2 import evaluate
from spanetv2.cli.train import run_training
from spanetv2.errors import UserError
from spanetv2.training.batching import plan_batches
from spanetv2.training.config import ScheduleConfig
from spanetv2.training.schedule import lowered_warmup


def pictures(root: Path, *, classes=("circle", "cross"), train=5, val=1) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for label, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 99, (32, 32, 3)) + 150 * label
                Image.fromarray(pixels.astype(np.uint8)).save(root / split / name / f"{i}.png")
    return root


RECIPE = (
    *("classification", "--config=finetune", "--model.name=spanetv2_pico_pure"),
    "--preprocessing.input_size=[3,32,32]",
)


def test_the_finetune_recipe_fits_itself_to_a_small_set(tmp_path, capsys):
    root = pictures(tmp_path / "s")
    options = ["--data.workers=0", "--trainer.max_epochs=2", "--trainer.accelerator=cpu"]
    run_training([*RECIPE, f"--data={root}", f"--out={tmp_path / 'out'}", *options])
    lines = capsys.readouterr().err.splitlines()
    (batch,) = (line for line in lines if line.startswith("batch: "))
    assert batch == (
        "batch: 10 per device x 1 device x 1 accumulated = 10, NOT the total batch of 128 asked "
        "for (-92.2 %), as the training split has 10 images; the learning rate is left as it is"
    )
    assert "warm-up lowered from 2 to 1 epochs, as the run has 2" in lines
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert [line.split(":")[0] for line in epochs] == ["epoch 1/2", "epoch 2/2"]
    assert not any("\r" in line for line in lines)


@pytest.mark.parametrize(
    ("images", "devices", "even", "expected"),
    [
        *((96, 1, False, (32, 3)), (50, 1, False, (32, 1)), (21, 2, False, (10, 1))),
        *((21, 1, True, (20, 1)), (128, 1, False, (32, 4)), (1, 2, False, (32, 2))),
    ],
)
def test_total_batch_is_lowered_to_what_the_data_have(images, devices, even, expected):
    plan = plan_batches(128, devices=devices, per_device=32)
    batches = images // (32 * devices)
    found = plan.lowered(images=images, batches=batches, even=even)
    assert (found.per_device, found.accumulation) == expected
    assert found.wanted == 128


def test_warmup_is_lowered_only_where_it_fills_the_run():
    def lowered(epochs, per_epoch=10, **options):
        schedule, note = lowered_warmup(
            ScheduleConfig(**options), epochs=epochs, updates_per_epoch=per_epoch
        )
        return schedule.warmup_epochs, schedule.warmup_updates, bool(note)

    assert lowered(3, warmup_epochs=2) == (2, None, False)
    assert lowered(2, warmup_epochs=2) == (1, None, True)
    assert lowered(1, warmup_epochs=2) == (0, None, True)
    assert lowered(3, warmup_epochs=2, cooldown_epochs=1) == (1, None, True)
    assert lowered(3, warmup_epochs=2, cooldown_epochs=3) == (2, None, False)  # refused later
    assert lowered(2, warmup_updates=20) == (0, 10, True)
    assert lowered(2, warmup_updates=19) == (0, 19, False)
    assert lowered(9, updates=6, warmup_updates=6) == (0, 3, True)
    assert lowered(1, per_epoch=1, warmup_updates=2) == (0, None, True)


def test_one_class_is_refused_before_anything_is_written(tmp_path):
    root = pictures(tmp_path / "s", classes=("circle",))
    with pytest.raises(UserError, match=r"got 1 class \(circle\), expected 2 or more"):
        run_training([*RECIPE, f"--data={root}", f"--out={tmp_path / 'out'}", "--data.workers=0"])
    assert not (tmp_path / "out").exists()


def test_what_a_run_held_out_is_what_evaluation_measures(tmp_path):
    root = pictures(tmp_path / "s", train=6) / "train"
    options = ["--data.workers=0", "--trainer.max_epochs=1", "--trainer.accelerator=cpu"]
    out = tmp_path / "out"
    run_training([*RECIPE, f"--data={root}", f"--out={out}", "--data.val_share=0.3", *options])
    found = evaluate(out, data=root, workers=0)
    assert found.measurement.images == 4
    assert "measured on 0.3 of each class held out of training, seed 42" in found.notes
    recorded = json.loads((out / "metrics.json").read_text())
    assert recorded["top1"] == found.figures["top1"]
    assert evaluate(out, data=root, split="train", workers=0).measurement.images == 12
    (root / "cross" / "more.png").write_bytes((root / "cross" / "0.png").read_bytes())
    assert evaluate(out, data=root, workers=0).measurement.images == 13  # another data set
