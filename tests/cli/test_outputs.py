"""No command replaces a file that it reads, nor deletes or replaces what it did not make."""

import hashlib
from pathlib import Path
from typing import Any

import pytest


def _contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


WEIGHTS, IMAGE, RESULT = "in.safetensors", "data/val/a/1.png", "result.json"
READ = {
    "predict": (WEIGHTS, "predict {in} {data}/val --json {out}.json"),
    "predict an image": (IMAGE, "predict {in} {data}/val --json {out}.json"),
    "evaluate json": (WEIGHTS, "evaluate {in} --data {data} --json {out}.json"),
    "evaluate an image": (IMAGE, "evaluate {in} --data {data} --json {out}.json"),
    "evaluate picture": (IMAGE, "evaluate {in} --data {data} --picture {out}.png"),
    "convert": (WEIGHTS, "convert {in} {out}.safetensors"),
    "export": (WEIGHTS, "export {in} --out {out}.onnx"),
    "export calibrated": (
        IMAGE,
        "export {in} --out {out}.onnx --quantize int8 --calibrate {data}/val",
    ),
    "explore": (WEIGHTS, "explore {in} --out {out}.html"),
    "explore an image": (IMAGE, "explore {in} --images {data}/val --out {out}.html"),
    "explore folder": (WEIGHTS, "explore {in} --out {folder}"),
    "analyze model": (WEIGHTS, "analyze model {in} --images {data} --out {folder}"),
    "benchmark page": (RESULT, "benchmark --table {made}/result.json --out {out}.md"),
}
"""What is linked to, and a command whose output is the link."""


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_an_output_that_is_a_link_to_an_input_is_refused(
    made: Path, tmp_path: Path, run: Any, name: str, kind: str
) -> None:
    source, line = READ[name]
    places = {"in": made / WEIGHTS, "data": made / "data", "made": made, "folder": tmp_path}
    words = [word.format(**places, out=tmp_path / "out") for word in line.split()]
    page = [word for word in words if word == str(tmp_path)]
    target = tmp_path / "index.html" if page else Path(words[_of(words, tmp_path)])
    target.hardlink_to(made / source) if kind == "hard" else target.symlink_to(made / source)
    before = _contents(made)
    status, said = run(*words)
    assert status == 1, said
    assert f"{target} would replace a file that is read" in said or "is a page that" in said
    assert _contents(made) == before
    assert list(tmp_path.iterdir()) == [target]


def _of(words: list[str], folder: Path) -> int:
    return next(i for i, word in enumerate(words) if word.startswith(str(folder)))


@pytest.mark.parametrize(
    "line",
    [
        "evaluate {in} --data {data} --json {out}.png --picture {out}.png",
        "benchmark s18_pure --out {out} --markdown {out}",
    ],
)
def test_one_file_for_two_outputs_is_refused(
    made: Path, tmp_path: Path, run: Any, line: str
) -> None:
    places = {"in": made / WEIGHTS, "data": made / "data", "out": tmp_path / "both.json"}
    status, said = run(*(word.format(**places) for word in line.split()))
    assert status == 1
    assert f"got {tmp_path / 'both.json'}" in said
    assert " for two outputs, expected a file for each" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "line",
    [
        "analyze theory --out {folder}",
        "analyze model {in} --images {data} --out {folder}",
        "explore {in} --out {folder}",
        "quickstart --epochs 1 --out {folder}",
    ],
)
def test_a_page_of_somebody_else_is_not_replaced(
    made: Path, tmp_path: Path, run: Any, line: str
) -> None:
    (tmp_path / "index.html").write_text("<h1>My site</h1>")
    places = {"in": made / WEIGHTS, "data": made / "data", "folder": tmp_path}
    status, said = run(*(word.format(**places) for word in line.split()))
    assert status == 1
    assert f"{tmp_path / 'index.html'} is a page that this version of spanetv2 has not made" in said
    assert _contents(tmp_path).keys() == {"index.html"}


def test_scenes_are_not_replaced_with_files_of_somebody_else_among_them(
    tmp_path: Path, run: Any
) -> None:
    folder = tmp_path / "scenes"
    line = ("scenes", folder, "--train", 1, "--val", 0, "--size", 96)
    for more in ((), ("--overwrite",)):
        main_status, said = run(*line, *more)
        assert not main_status, said
    (folder / "images" / "notes.txt").write_text("mine")
    before = _contents(tmp_path)
    status, said = run(*line, "--overwrite")
    assert status == 1
    assert "with images/notes.txt in it, which is no part of scenes and would be lost" in said
    assert _contents(tmp_path) == before


def test_convert_data_makes_a_new_folder_only(made: Path, tmp_path: Path, run: Any) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    status, said = run("convert-data", made / "scenes", tmp_path)
    assert status == 1
    assert "which is there, expected a new folder" in said
    assert _contents(tmp_path).keys() == {"notes.txt"}


@pytest.mark.parametrize("name", ["config.yaml", "weights.safetensors", "metrics.json"])
@pytest.mark.parametrize("more", [(), ("--overwrite",), ("--resume",)])
def test_a_run_does_not_replace_files_that_no_run_left(
    tmp_path: Path, run: Any, name: str, more: tuple[str, ...]
) -> None:
    (tmp_path / name).write_text("{}")
    status, said = run("train", "classification", "--config", "digits", "--out", tmp_path, *more)
    assert status == 1
    assert f"{tmp_path / name} is not from a run" in said
    assert _contents(tmp_path).keys() == {name}
