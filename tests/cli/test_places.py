"""Outputs that cannot go where they should: one line, and nothing lost."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

COMMANDS = {
    "predict": "predict spanetv2_pico_pure.scenes_semantic_fpn {made}/scenes/images/validation "
    "--device cpu --out {place}",
    "train": "train classification --data {made}/data --out {place} --model.name pico_pure "
    "--model.img_size 32 --trainer.max_epochs 1 --trainer.accelerator cpu --data.workers 0",
    "evaluate": "evaluate {made}/in.safetensors --data {made}/data --json {place}.json",
    "export": "export {made}/in.safetensors --format torchscript --out {place}.ts",
    "export torch": "export {made}/in.safetensors --format torch --out {place}.pt2",
    "convert": "convert {made}/in.safetensors {place}.safetensors",
    "scenes": "scenes {place} --train 3 --val 0 --size 96",
    "convert-data": "convert-data {made}/yolo {place}",
    "theory": "analyze theory --out {place}",
}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 kB."""
    yield from _mounted(tmp_path / "disk", "size=16k")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    yield from _mounted(tmp_path / "disk", "size=16k,ro")


def _mounted(place: Path, options: str) -> Iterator[Path]:
    place.mkdir()
    mount = shutil.which("mount")
    command = [mount or "", "-t", "tmpfs", "-o", options, "tmpfs", place]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("disks cannot be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


def _words(name: str, made: Path, place: Path) -> list[str]:
    return [word.format(made=made, place=place) for word in COMMANDS[name].split()]


@pytest.fixture(scope="module", autouse=True)
def labels(made: Path) -> None:
    """Images with YOLO's labels, and a file whose name not every terminal can print."""
    shutil.copytree(made / "data", made / "letters")
    (made / "letters" / "val" / "a" / "f\u00fcr.png").write_text("no image")
    for name in ("images", "labels"):
        (made / "yolo" / name).mkdir(parents=True)
    (made / "yolo" / "data.yaml").write_text("names: [a]\ntrain: images\n")
    for number in range(60):  # more than fit on a small disk
        image = made / "yolo" / "images" / f"{number}.png"
        shutil.copyfile(made / "data" / "val" / "a" / "1.png", image)
        (made / "yolo" / "labels" / f"{number}.txt").write_text("0 .5 .5 .2 .2\n")


@pytest.mark.parametrize(
    "name", ["predict", "train", "export", "export torch", "convert", "scenes", "convert-data"]
)
def test_a_full_disk_is_told_with_the_path_and_the_space(
    name: str, made: Path, disk: Path, run: Any
) -> None:
    (disk / "other.txt").write_text("mine")
    status, said = run(*_words(name, made, disk / "x"))
    assert status == 1
    *_, last = said.splitlines()
    assert last.startswith(f"error: {disk / 'x'}"), said
    for part in (": no space left on the device: it needs ", " are free; ", "make room or choose"):
        assert part in last
    assert "Traceback" not in said
    assert (disk / "other.txt").read_text() == "mine"
    assert not [path for path in disk.rglob("*") if ".part" in path.name]


@pytest.mark.parametrize("logger", ["csv", "tensorboard"])
def test_a_full_disk_of_one_more_logger_is_told_by_its_folder(
    logger: str, made: Path, disk: Path, tmp_path: Path, run: Any
) -> None:
    (disk / "other.txt").write_bytes(bytes(12 * 1024))
    command = _words("train", made, tmp_path / "run")
    status, said = run(*command, "--loggers", f"[{{name: {logger}, save_dir: {disk}}}]")
    assert status == 1
    *_, last = said.splitlines()
    assert last.startswith(f"error: {disk}"), said
    assert "no space left on the device" in last
    assert "Traceback" not in said


@pytest.mark.parametrize("name", COMMANDS)
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    name: str, made: Path, tmp_path: Path, run: Any
) -> None:
    (tmp_path / "file.txt").write_text("mine")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "long").symlink_to("x" * 300)
    for place, said in {
        "file.txt": "a part of the path is a file, not a folder; check the path",
        "loop": "links that go round in a circle; remove or mend the link",
        "long": "the name is too long for the file system; choose a shorter one",
    }.items():
        output = tmp_path / place / "x"
        status, told = run(*_words(name, made, output))
        assert status == 1, told
        assert told.splitlines()[-1].startswith(f"error: {output}"), told
        assert told.endswith(f": {said}\n"), told
        assert "batch/s" not in told  # of the bar of an evaluation
    assert (tmp_path / "file.txt").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_that_is_read_only_is_told(name: str, made: Path, read_only: Path, run: Any) -> None:
    status, said = run(*_words(name, made, read_only / "x"))
    assert status == 1
    assert said.splitlines()[-1].startswith(f"error: {read_only / 'x'}"), said
    assert said.endswith(": the file system is read-only; choose another folder\n")


def test_standard_output_takes_a_file_in_the_letters_it_knows(made: Path) -> None:
    command = [sys.executable, "-m", "spanetv2", "evaluate", made / "in.safetensors"]
    found = subprocess.run(
        [*command, "--data", made / "letters", "--device", "cpu", "--json", "/dev/stdout"],
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert found.returncode == 1
    assert b"f\\udcc3\\udcbcr.png: not an image" in found.stderr
    assert b'"top1": ' in found.stdout
