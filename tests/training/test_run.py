"""What a run leaves behind, and how it fails."""

import json
import multiprocessing
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import spanetv2
from spanetv2.cli.train import main, run_training
from spanetv2.errors import UserError
from spanetv2.training.finite import NonFiniteError


def test_run_leaves_everything_in_its_folder(runs: Any) -> None:
    arguments = [*runs.tiny, f"--out={runs.folder / 'run'}", "--ema.decay=0.5"]
    result = run_training([*arguments, "--trainer.max_epochs=2"])
    assert result is not None
    folder = result.folder
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    events = {name for name in names if "tfevents" in name}
    assert len(events) == 1
    assert names - events == {
        "config.yaml",
        "versions.json",
        "metrics.json",
        "weights.safetensors",
        "logs/metrics.csv",
        "checkpoints/last.ckpt",
        "checkpoints/last-previous.ckpt",
        "checkpoints/best.ckpt",
    }
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == result.metrics
    assert metrics["images"] == 360
    assert metrics["training"]["updates"] == 8
    versions = json.loads((folder / "versions.json").read_text())
    assert versions["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert versions["hardware"]["cores"] >= 1
    assert versions["command"].startswith("spanetv2 train classification --config=digits")

    # the weights stand alone, and are the averaged ones
    model, checkpoint = spanetv2.load_model(folder)
    assert checkpoint.classes == [str(digit) for digit in range(10)]
    assert checkpoint.preprocessing is not None
    assert checkpoint.preprocessing["input_size"] == [1, 8, 8]
    state = runs.load(folder)["state_dict"]
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[f"ema.module.{name}"])
    assert not torch.equal(state["ema.module.stem.conv.weight"], state["net.stem.conv.weight"])
    # a training checkpoint does as well
    again, described = spanetv2.load_model(folder / "checkpoints" / "last.ckpt")
    assert described.classes == checkpoint.classes
    for name, value in again.state_dict().items():
        assert torch.equal(value, state[f"ema.module.{name}"])

    # the saved configuration gives the same run
    other = runs.folder / "again"
    run_training(["classification", f"--config={folder / 'config.yaml'}", f"--out={other}"])
    runs.assert_same_weights(folder, other)


def test_what_is_refused_leaves_no_folder(runs: Any) -> None:
    for option, said in (
        ("--optimizer.name=sgdd", "optimizer.name is 'sgdd', expected one of timm's"),
        ("--data.root=/nowhere", "for the data set digits, which comes with the package"),
    ):
        with pytest.raises(UserError, match=said):
            runs.train("refused", option)
        assert not (runs.folder / "refused").exists()


def test_run_refuses_to_replace_another(runs: Any) -> None:
    runs.train("run", "--trainer.max_steps=1")
    with pytest.raises(UserError, match="--resume, replace it with --overwrite"):
        runs.train("run")
    folder = runs.train("run", "--overwrite", "--trainer.max_steps=2")
    assert runs.load(folder)["global_step"] == 2
    assert len((folder / "logs" / "metrics.csv").read_text().splitlines()) == 1 + 2 + 1


def test_run_exports_the_best_epoch_when_asked(runs: Any) -> None:
    folder = runs.train("run", "--checkpoints.export=best", "--optimizer.lr=0.01")
    model, _ = spanetv2.load_model(folder)
    best = runs.load(folder, "best")
    assert torch.equal(
        model.state_dict()["stem.conv.weight"], best["state_dict"]["net.stem.conv.weight"]
    )
    metrics = json.loads((folder / "metrics.json").read_text())["training"]
    assert metrics["weights_of"] == "the best epoch"
    assert best["callbacks"]["RunCheckpoints"]["best_epoch"] + 1 == metrics["best_epoch"]


def test_run_without_validation(runs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--data.val_split=null", "--trainer.max_epochs=2", "--checkpoints.export=best"]
    folder = runs.train("run", *options)
    assert "checkpoints.export is best, but no validation gave a" in capsys.readouterr().err
    assert set(json.loads((folder / "metrics.json").read_text())) == {"training"}
    assert not (folder / "checkpoints" / "best.ckpt").exists()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(["--trainer.precision=bf16-mixed", "--model.channels_last=true"], id="bf16"),
        pytest.param(["--trainer.precision=bf16-true"], id="pure bf16"),
        pytest.param(["--model.grad_checkpointing=true", "--optimizer.name=lamb"], id="lamb"),
        pytest.param(["--trainer.gradient_clip_val=1", "--optimizer.layer_decay=0.8"], id="decay"),
        pytest.param(["--data.batch_size=4", "--data.persistent_workers=true"], id="accumulation"),
        pytest.param(
            ["--mixing.mixup=0.2", "--mixing.off_epoch=1", "--mixing.mode=elem"], id="mix"
        ),
        pytest.param(["--schedule.step=epoch", "--trainer.check_val_every_n_epoch=2"], id="epoch"),
    ],
)
def test_run_with_options_stays_finite_and_learns_something(runs: Any, options: list[str]) -> None:
    folder = runs.train("run", *options, "--trainer.max_epochs=2")
    assert json.loads((folder / "metrics.json").read_text())["loss"] < 3


def test_frozen_parameters_stay_as_they_are(runs: Any) -> None:
    first = runs.train("first", "--trainer.max_steps=1")
    second = runs.train("second", "--freeze", f"--weights={first}", "--optimizer.lr=0.1")
    before, after = (runs.load(folder)["state_dict"] for folder in (first, second))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("net.head.fc.") for name in changed)


def test_bad_loss_stops_the_run_and_keeps_the_last_good_checkpoint(
    runs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = runs.folder / "run"
    arguments = [*runs.tiny, f"--out={folder}", "--checkpoints.every_steps=1"]
    assert main([*arguments, runs.stopper(batch=6, poison=True)]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(
        "error: the loss became nan at update 7 (epoch 2, learning rate 0.00101); "
        f"the last good checkpoint is {folder / 'checkpoints' / 'last.ckpt'}; lower optimizer.lr"
    )
    saved = runs.load(folder)
    assert saved["global_step"] == 6
    assert all(value.isfinite().all() for value in saved["state_dict"].values())


def test_bad_weights_are_not_saved(runs: Any) -> None:
    # struck right before the validation that ends the first epoch: its loss is NaN, no step's is
    with pytest.raises(NonFiniteError, match="weights are no longer finite after update 4"):
        runs.train("run", runs.stopper(validation=0, poison=True))
    assert not list((runs.folder / "run").rglob("*.ckpt"))


def test_out_of_memory_says_what_to_lower(runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    monkeypatch.setattr("lightning.pytorch.Trainer.fit", full)
    with pytest.raises(UserError, match=r"16 images of 8x8 .* lower --data.batch_size \(say 8;"):
        runs.train("run")


@pytest.mark.parametrize("spoiled", ["train", "val"])
def test_a_damaged_image_is_named_and_no_loading_process_stays(
    runs: Any, tmp_path: Path, spoiled: str
) -> None:
    for split in ("train", "val"):
        for index in range(16):
            path = tmp_path / "pictures" / split / "ab"[index % 2] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (8, 8), index).save(path)
    broken = tmp_path / "pictures" / spoiled / "a" / "4.png"
    broken.write_bytes(broken.read_bytes()[:40])
    for workers in (0, 1):
        with pytest.raises(UserError, match=rf"{spoiled}/a/4\.png"):
            runs.train(
                f"run{workers}",
                "--data.dataset=folder",
                f"--data={tmp_path / 'pictures'}",
                f"--data.workers={workers}",
            )
        assert multiprocessing.active_children() == []


def test_validation_may_lack_a_class_but_not_add_one(runs: Any, tmp_path: Path) -> None:
    root = tmp_path / "pictures"
    for index in range(24):
        split = "val" if index % 3 == 0 else "train"
        name = "ab"[index % 2] if split == "train" else "b"
        path = root / split / name / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), index).save(path)
    options = ("--data.dataset=folder", f"--data={root}", "--data.total_batch=8")
    folder = runs.train("fewer", *options, "--trainer.limit_train_batches=2")
    metrics = json.loads((folder / "metrics.json").read_text())
    rows = {row["class"]: (row["index"], row["images"]) for row in metrics["classes"]}
    assert rows["b"] == (1, 8)
    (root / "val" / "c").mkdir()
    Image.new("L", (8, 8), 3).save(root / "val" / "c" / "new.png")
    with pytest.raises(UserError, match="'c'"):
        runs.train("more", *options)


def test_spare_outputs_are_named(runs: Any) -> None:
    folder = runs.train("run", "--model.num_classes=12", "--trainer.max_epochs=2")
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["num_classes"] == 12


def test_sigterm_ends_the_process_with_143(runs: Any) -> None:
    stop = runs.stopper(number=int(signal.SIGTERM), batch=5)
    result = runs.spawn("run", "--data.workers=1", stop)
    assert result.returncode == 143
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"stopped (SIGTERM); saved {runs.folder / 'run'}/checkpoints/last.ckpt")
    assert "Traceback" not in result.stderr
    assert runs.load(runs.folder / "run")["global_step"] == 6
