"""Runs on WebDataset shards go on like runs on files."""

import io
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from tests.support.shards import write_shards

pytest.importorskip("webdataset")
pytestmark = pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")

RANDOM = (
    "--data.dataset=wds",
    "--model.drop_path=0.3",
    "--augmentation.shift=1",
    "--augmentation.rotate=15",
    "--mixing.mixup=0.4",
    "--mixing.label_smoothing=0.1",
    "--trainer.max_epochs=2",
    "--trainer.limit_train_batches=1.0",
    "--trainer.limit_val_batches=1.0",
    "--checkpoints.every_steps=1",
    "--data.workers=2",
)
"""Two epochs of five batches of 16, read by two processes."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits: 80 to train on in four shards, and 19."""
    images, labels = load_digits(return_X_y=True)
    samples = []
    for pixels, label in zip(images[:99].reshape(-1, 8, 8) * 15, labels, strict=False):
        content = io.BytesIO()
        Image.fromarray(pixels.astype("uint8")).save(content, "PNG")
        samples.append((content.getvalue(), int(label)))
    folder = tmp_path_factory.mktemp("data") / "shards"
    write_shards(folder, {"train": samples[:80], "val": samples[80:]}, each=20)
    (folder / "classes.txt").write_text("\n".join("0123456789"))
    return folder


def test_a_run_on_shards_resumes_exactly_after_sigkill_amid_an_epoch(
    shards: Path, tmp_path: Path, runs: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [*RANDOM, f"--data={shards}", f"--data.class_file={shards / 'classes.txt'}"]
    whole = runs.train("whole", *options)
    assert "wds, 80 training and 19 validation images" in capsys.readouterr().err
    killed = runs.spawn("killed", *options, runs.stopper(batch=8))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    saved = runs.load(tmp_path / "killed")
    # an odd batch: not the first of the two processes' round
    assert saved["ClassificationData"] == {"epoch": 1, "image": 48, "order": 16}
    start = {name: value.clone() for name, value in saved["state_dict"].items()}
    # another number of processes is another order, which is said
    runs.train("killed", *options, "--resume", "--data.workers=1", "--trainer.max_steps=0")
    said = capsys.readouterr().err
    assert "a stream read by 1 loading processes (was 2) comes in another order" in said
    folder = runs.train("killed", *options, "--resume")
    assert "loading processes" not in capsys.readouterr().err
    runs.assert_same_weights(whole, folder)
    end = runs.load(folder)["state_dict"]
    assert not all(torch.equal(start[name], end[name]) for name in start)
