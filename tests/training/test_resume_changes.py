"""What may change when a run goes on acts; what may not is refused and changes nothing."""

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image

import spanetv2
from spanetv2.cli.train import run_training
from spanetv2.errors import UserError
from spanetv2.training.config import ScheduleConfig
from spanetv2.training.run import RunResult
from spanetv2.training.schedule import Schedule

BASE: dict[str, Any] = {
    "log_every": 1,
    "model": {"name": "test_resnet", "stem_stride": None, "drop_path": None},
    "data": {"dataset": "digits", "total_batch": 12, "workers": 0, "val_batch_size": 60},
    "preprocessing": {"input_size": [1, 32, 32], "mean": [0.3], "std": [0.4]},
    "optimizer": {"lr": 1e-3},
    "schedule": {"warmup_epochs": 0},
    "checkpoints": {"every_steps": 1},
    "trainer": {
        "max_epochs": 2,
        "accelerator": "cpu",
        "devices": 1,
        "limit_val_batches": 1,
        "limit_train_batches": 0.08,  # 9 updates
    },
}


class Seen(Callback):
    """Notes the images of every update: the sums of their pixels, which no two share."""

    def __init__(self) -> None:
        self.updates: dict[int, list[int]] = {}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        images = batch[0].double().flatten(1)
        sums = (images * torch.arange(1, images.shape[1] + 1)).sum(1)
        found = [round(float(value), 3) for value in sums]
        self.updates.setdefault(trainer.global_step, []).extend(found)


class GoneError(Exception):
    """Ends a run as if it had been killed."""


class Cut(Callback):
    """Raises ``GoneError`` at an update."""

    def __init__(self, update: int) -> None:
        self.update = update

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.update:
            raise GoneError


def train(
    out: Path, *, resume: bool = False, extend: int | None = None, **overrides: Any
) -> RunResult:
    how: Any = {"resume": resume, "extend": extend}
    return spanetv2.train("classification", BASE, out=out, overrides=overrides, **how)


def snapshot(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in [*files]}


def rates(folder: Path) -> list[float]:
    with (folder / "logs" / "metrics.csv").open(newline="") as stream:
        return [float(row["lr"]) for row in csv.DictReader(stream) if row["train/loss"]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Seen]:
    """A run that nothing interrupted."""
    seen = Seen()
    out = tmp_path_factory.mktemp("whole") / "run"
    train(out, **{"trainer.callbacks": [seen]})
    return out, seen


def test_a_finished_run_says_so_and_nothing_is_written(
    whole: tuple[Path, Seen], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = whole
    before = snapshot(folder)
    result = train(folder, resume=True, **{"data.workers": 1})
    assert "run is finished, after update 18: nothing to do; --extend" in capsys.readouterr().err
    assert result.metrics["training"]["updates"] == 18
    for change in ({"optimizer.lr": 1e-4}, {"data.batch_size": 4}):
        with pytest.raises(UserError, match=r"run is finished, .* a change would not act \("):
            train(folder, resume=True, **change)
    with pytest.raises(UserError, match=r"got trainer\.max_epochs=4, expected 2 .* or --extend"):
        train(folder, resume=True, **{"trainer.max_epochs": 4})
    assert snapshot(folder) == before


def test_an_extended_run_has_a_new_schedule_and_resumes(
    tmp_path: Path, whole: tuple[Path, Seen], capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    for out in (first, again):
        shutil.copytree(whole[0], out)
    words = [f"--out={first}", "--extend=1", "--trainer.callbacks=null", "--print-config"]
    run_training(["classification", *words])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["schedule"]["begin"], printed["trainer"]["max_epochs"]) == (2, 3)
    result = train(first, extend=1, **{"optimizer.lr": 2e-3})
    assert result.metrics["training"]["updates"] == 27
    said = capsys.readouterr().err
    assert "extended from 2 to 3 epochs, with a new schedule from here on" in said
    added = rates(first)[18:]
    assert len(added) == 9
    assert added[0] == pytest.approx(2e-3)
    assert added == sorted(added, reverse=True)
    assert added[-1] < 1e-4
    # cut short amid what was added, before anything of it is saved, it is finished by --resume
    lost = {"optimizer.lr": 2e-3, "checkpoints.every_steps": 0}
    with pytest.raises(GoneError):
        train(again, extend=1, **{**lost, "trainer.callbacks": [Cut(20)]})
    options = {"overrides": {"trainer.callbacks": None}, "out": again, "resume": True}
    spanetv2.train("classification", **options)
    states = [
        torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for out in (first, again)
    ]
    assert not [name for name in states[0] if not torch.equal(states[0][name], states[1][name])]
    with pytest.raises(UserError, match=r"is finished, after update 27"):
        train(first, resume=True, **{"optimizer.lr": 5e-3, **_ends(first)})


def _ends(folder: Path) -> dict[str, Any]:
    config = yaml.safe_load((folder / "config.yaml").read_text())
    return {
        "schedule.begin": config["schedule"]["begin"],
        "trainer.max_epochs": config["trainer"]["max_epochs"],
    }


def test_a_run_that_is_not_finished_is_not_extended(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(UserError, match=r"holds no checkpoint of a run, expected a finished run"):
        train(out, extend=2)
    assert not out.exists()
    train(out, **{"trainer.max_steps": 4})
    with pytest.raises(UserError, match=r"is at epoch 0 of 2, expected a finished run to extend"):
        train(out, extend=2)


@pytest.mark.parametrize("sizes", [(None, 4), (4, 6)])
def test_other_batches_go_on_at_the_image_where_the_run_was(
    tmp_path: Path,
    whole: tuple[Path, Seen],
    sizes: tuple[int | None, int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, seen = tmp_path / "run", Seen()
    more: dict[str, Any] = {"trainer.callbacks": [seen], "data.batch_size": sizes[0]}
    for steps in (4, 13):  # amid the first epoch, amid the second
        train(out, resume=steps > 4, **{**more, "trainer.max_steps": steps})
        more["data.batch_size"] = sizes[1]
    said = capsys.readouterr().err
    assert (
        f"no longer bit by bit what an uninterrupted run gives: data.batch_size {sizes[1]}" in said
    )
    saved = torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["ClassificationData"] == {"epoch": 1, "image": 4 * 12, "order": sizes[1]}
    train(out, resume=True, **more)
    assert seen.updates == whole[1].updates  # the same images in every update
    assert len(seen.updates) == 18
    assert rates(out) == rates(whole[0])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            {"optimizer.weight_decay": 5.0},
            r"got optimizer\.weight_decay=5\.0, expected 0\.05 as .*run was trained with so far",
        ),
        ({"optimizer.betas": [0.5, 0.6]}, r"got optimizer\.betas=\[0\.5, 0\.6\], expected null"),
        ({"ema.decay": 0.9}, r"got ema=true, expected false"),
        ({"checkpoints.monitor": "loss"}, r"got checkpoints\.monitor=loss, expected top1"),
        ({"seed": 7}, r"got seed=7, expected 42"),
        ({"data.total_batch": 24}, r"got data\.total_batch=24, expected 12"),
        ({"data.batch_size": 5}, r"got updates of 10 images, expected 12"),
        ({"trainer.limit_train_batches": 7}, r"got epochs of 7 updates, expected 9"),
        ({"data.classes": list("9876543210")}, r"got data\.classes="),
        (
            {"optimizer.layer_decay": 0.5, "seed": 7},
            r"got seed=7, optimizer\.layer_decay=0\.5, exp",
        ),
    ],
)
def test_options_that_would_not_act_are_refused_and_nothing_is_written(
    whole: tuple[Path, Seen], overrides: dict[str, Any], message: str
) -> None:
    folder, _ = whole
    before = snapshot(folder)
    with pytest.raises(UserError, match=message) as refused:
        train(folder, extend=1, **overrides)
    assert "\n" not in str(refused.value)
    assert snapshot(folder) == before


def test_a_damaged_checkpoint_stays_where_it_is_when_the_run_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(out, **{"trainer.max_steps": 3})
    last = out / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    before = snapshot(out)
    with pytest.raises(UserError, match=r"optimizer\.weight_decay"):
        train(out, resume=True, **{"optimizer.weight_decay": 1.0})
    assert snapshot(out) == before
    train(out, resume=True, **{"trainer.max_steps": 3})
    assert last.with_name("last.ckpt.broken").is_file()


def test_rate_and_clipping_act_and_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    train(out, **{"trainer.max_steps": 5})
    changes = {"optimizer.lr": 4e-3, "schedule.name": "poly"}
    train(out, resume=True, **changes, **{"data.workers": 1, "checkpoints.every_steps": 0})
    [line] = [x for x in capsys.readouterr().err.splitlines() if x.startswith("from here on: ")]
    assert "optimizer.lr 0.004 (was 0.001)" in line
    assert "workers" not in line
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=4e-3)
    config = ScheduleConfig(name="poly", warmup_epochs=0)
    schedule = Schedule(optimizer, config, epochs=2, updates_per_epoch=9)
    expected = []
    for update in range(5, 18):
        schedule.apply(epoch=0, update=update)
        expected.append(optimizer.param_groups[0]["lr"])
    assert rates(out)[5:] == pytest.approx(expected, rel=1e-5)


def test_a_run_without_a_record_is_compared_with_its_config_file(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(out, **{"trainer.max_steps": 4})
    path = out / "checkpoints" / "last.ckpt"
    saved = torch.load(path, weights_only=True)
    del saved["spanetv2_run"], saved["callbacks"]["Watch"]
    saved["ClassificationData"] = {"epoch": 0, "batch": 4}  # as 0.1.0 wrote it
    torch.save(saved, path)
    before = snapshot(out)
    for option, value in (("optimizer.weight_decay", 1.0), ("data.batch_size", 5)):
        with pytest.raises(UserError, match=r"expected (0\.05|12) as"):
            train(out, resume=True, **{option: value})
    assert snapshot(out) == before
    seen = Seen()
    more = {"data.batch_size": 4, "trainer.callbacks": [seen], "trainer.max_steps": 9}
    train(out, resume=True, **more)
    fresh = Seen()
    train(tmp_path / "fresh", **{"trainer.callbacks": [fresh], "trainer.max_steps": 9})
    assert seen.updates == {step: fresh.updates[step] for step in range(4, 9)}


def test_changed_files_stop_a_run_unless_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "pictures", tmp_path / "run"
    for split in ("train", "val"):
        for name in "ab":
            (data / split / name).mkdir(parents=True)
            for index in range(4):
                picture = Image.new("RGB", (32, 32), (60 * index, 90, 30))
                picture.save(data / split / name / f"{index}.png")
    options: dict[str, Any] = {
        "data.dataset": "folder",
        "data.root": str(data),
        "data.total_batch": 4,
        "data.val_batch_size": 8,
        "preprocessing": {"input_size": [3, 32, 32], "mean": [0.5] * 3, "std": [0.5] * 3},
        "trainer.limit_train_batches": None,
    }
    with pytest.raises(GoneError):
        train(out, **options, **{"trainer.callbacks": [Cut(1)]})
    before = snapshot(out)
    (data / "train" / "a" / "0.png").rename(data / "train" / "b" / "9.png")
    with pytest.raises(UserError, match=r"got training data with other files or labels than .*run"):
        train(out, resume=True, **options)
    assert snapshot(out) == before
    overrides = {**options, "trainer.callbacks": None}
    spanetv2.train(
        "classification", BASE, out=out, overrides=overrides, resume=True, changed_data=True
    )
    said = capsys.readouterr().err
    assert "the training data have other files or labels; from here on no longer bit by bit" in said
    assert (out / "weights.safetensors").is_file()
