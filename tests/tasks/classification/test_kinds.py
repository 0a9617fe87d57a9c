"""Kinds of labelled images: check-data and training say the same of each."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from spanetv2.cli.check_data import check_data_app
from spanetv2.errors import UserError
from spanetv2.tasks.classification.config import DataConfig, RunConfig
from spanetv2.tasks.classification.run_data import ClassificationData
from spanetv2.training.batching import plan_batches


def write(root: Path) -> None:
    """Three images of two classes to train on, and one of each held out."""
    random = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 1)):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (9, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{name}{i}.png")


def flat(root: Path) -> None:
    """All images of training in one folder, for a CSV file."""
    for path in sorted(root.glob("train/*/*.png")):
        shutil.move(path, root / path.name)
    shutil.rmtree(root / "train")
    shutil.rmtree(root / "val")


def table(text: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        flat(root)
        (root.parent / "labels.csv").write_text(text)

    return change


def deep(highest: int) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        for path in root.glob("*/*/*.png"):
            grey = np.linspace(0, highest, 72).reshape(9, 8).astype(np.uint16)
            grey[0, 0] = int(path.stem[-1])  # no two alike
            Image.fromarray(grey).save(path)

    return change


def renamed(old: str, new: str) -> Callable[[Path], Any]:
    return lambda root: (root / old).rename(root / new)


IMAGES = [f"{name}{i}" for name in ("cat", "dog") for i in range(3)]
ONE = "id,breed\n" + "".join(f"{name},{name[:3]}\n" for name in IMAGES)
SEVERAL = "id,cat,dog\n" + "".join(f"{name},{i % 2},1\n" for i, name in enumerate(IMAGES))


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of data, and what is to be said about it.

    Args:
        change: of a sound folder.
        said: what check-data and the first lines of training say, both: patterns.
        stops: whether both refuse it.
        options: of ``data``, as in training.
    """

    change: Callable[[Path], Any]
    said: list[str] = field(default_factory=list)
    stops: bool = False
    options: dict[str, Any] = field(default_factory=dict)


LABELS = {"labels": "labels.csv", "val_share": 0.34}
KINDS = {
    "sound": Kind(change=lambda root: None),
    "names in capitals": Kind(change=renamed("val", "VALID")),
    "no val": Kind(
        change=lambda root: shutil.rmtree(root / "val"),
        said=["got no 'val' folder .*--data.val_share 0.2"],
        stops=True,
    ),
    "a share held out": Kind(
        change=lambda root: shutil.rmtree(root / "val"), options={"val_share": 0.34}
    ),
    "not split": Kind(
        change=lambda root: (
            [shutil.move(p, root) for p in [*root.glob("train/*")]]
            and [shutil.rmtree(root / split) for split in ("train", "val")]
        ),
        said=["got 6 of 6 validation images that are training images"],
        stops=True,
    ),
    "one class": Kind(
        change=lambda root: [shutil.rmtree(p) for p in root.glob("*/dog")],
        said=[r"got 1 class \(cat\), expected 2 or more"],
        stops=True,
    ),
    "an empty class": Kind(
        change=lambda root: (root / "train" / "emu").mkdir(),
        said=[r"got no training image of 1 of 3 classes \(emu\).*empty_classes keep"],
        stops=True,
    ),
    "an empty class, kept": Kind(
        change=lambda root: (root / "train" / "emu").mkdir(), options={"empty_classes": "keep"}
    ),
    "a folder of an archive": Kind(
        change=lambda root: (root / "train" / "__MACOSX").mkdir(),
    ),
    "a class never measured": Kind(
        change=lambda root: shutil.rmtree(root / "val" / "dog"),
        said=["no validation images of 1 of 2 classes: dog"],
    ),
    "a near miss in val": Kind(
        change=renamed("val/dog", "val/Dog "),
        said=["got unknown classes 'Dog ' .*is 'dog' meant by 'Dog '"],
        stops=True,
    ),
    "a picture that is not read": Kind(
        change=lambda root: (root / "train" / "cat" / "a.psd").write_bytes(b"x"),
        said=["left out 1 files that are not read as images: 1 .psd"],
    ),
    "12 bits": Kind(change=deep(4000), said=["6 grey images of more than 8 bits: white is 4095"]),
    "too many pixels": Kind(
        change=lambda root: None,
        options={"max_pixels": 71},
        said=["72 pixels, expected at most 71; .*--max-pixels 72"],
        stops=True,
    ),
    "a CSV file": Kind(change=table(ONE), options=LABELS),
    "a CSV file that names what is not there": Kind(
        change=table(ONE + "emu7,emu\n"),
        options=LABELS,
        said=["got 'emu7' in .*no such image"],
        stops=True,
    ),
    "an image in no row": Kind(
        change=table(ONE.replace("cat2,cat\n", "")), options=LABELS, said=["1 images below"]
    ),
    "several labels": Kind(
        change=table(SEVERAL),
        options=LABELS,
        said=["3 of 6 images have several labels and 0 have none"],
    ),
    "several labels, refused": Kind(
        change=table(SEVERAL),
        options={**LABELS, "multi_label": False},
        said=["got 2 classes for an image"],
        stops=True,
    ),
    "a column without a 1": Kind(
        change=table(SEVERAL.replace("\n", ",0\n").replace("dog,0\n", "dog,emu\n", 1)),
        options=LABELS,
        said=[r"got no training image of 1 of 3 classes \(emu\)"],
        stops=True,
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_check_data_and_training_agree(tmp_path, name):
    kind = KINDS[name]
    root = tmp_path / "data"
    write(root)
    kind.change(root)
    options = dict(kind.options)
    if "labels" in options:
        options["labels"] = str(tmp_path / options["labels"])
    flags = [word for key, value in options.items() for word in flag(key, value)]
    result = CliRunner().invoke(check_data_app(), ["classification", str(root), *flags])
    told = " ".join(f"{result.output} {result.exception or ''}".split())
    assert result.exception is None or isinstance(result.exception, UserError | SystemExit)
    config = RunConfig(data=DataConfig(root=str(root), total_batch=2, **options))
    if kind.stops:
        with pytest.raises(UserError) as refused:
            read_first(config)
        first = str(refused.value)
        assert "\n" not in first
        assert result.exit_code == 1
    else:
        data = ClassificationData(config, plan=plan_batches(2, devices=1))
        first = " ".join(data.remarks)
        assert result.exit_code == 0, told
        assert "error" not in told
        assert f"train: {len(data.train)} images, {len(data.classes)} classes" in told
        assert data.val is not None
        assert f"val: {len(data.val)} images" in told  # type: ignore[arg-type]
        for line in data.remarks:
            assert line.removeprefix("training: ").removeprefix("validation: ") in told
    for pattern in kind.said:
        assert re.search(pattern, first), (pattern, first)
        assert re.search(pattern, told), (pattern, told)


def read_first(config: RunConfig) -> None:
    """Open the data and read an image: a file that cannot be read stops there."""
    data = ClassificationData(config, plan=plan_batches(2, devices=1))
    data.train.read(0)  # type: ignore[union-attr]


def flag(option: str, value: object) -> list[str]:
    if option == "multi_label":
        return ["--multi-label" if value else "--one-label"]
    return [f"--{option.replace('_', '-')}", str(value)]
