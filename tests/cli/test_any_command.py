"""What holds for every command, found by looking: any output, any terminal, odd values."""

import io
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from benchmark_records import record, row
from PIL import Image

from spanetv2 import create_model, save_weights
from spanetv2.cli.main import main, make_app
from spanetv2.files import write_json

NAME = "gr\u00fcn\x1b[31m"


def _commands(group: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        words = (*before, name)
        if hasattr(command, "commands"):
            yield from _commands(command, words)
        else:
            yield words, command


COMMANDS = dict(_commands(typer.main.get_command(make_app())))

PRINTS = {
    "train": "classification --config digits --print-config",
    "predict": "{in} {data}/val",
    "evaluate": "{in} --data {data}",
    "convert": "{in} {out}.safetensors",
    "models": "--json",
    "recipes": "",
    "check-data classification": "{data}",
    "scenes": "{out} --train 1 --val 1 --size 96",
    "benchmark": "--table {made}/result.json --out {out}.md",
}
"""Command lines that print; the others are asked for their help."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights and images of classes with odd names, a result file."""
    folder = tmp_path_factory.mktemp("made")
    model = create_model("pico_pure", num_classes=2, img_size=32)
    save_weights(model, folder / "in.safetensors", classes=[NAME, "b"])
    for split in ("train", "val"):
        for name in (NAME, "b"):
            (folder / "data" / split / name).mkdir(parents=True)
            Image.new("RGB", (32, 32), (90, 60, 30)).save(
                folder / "data" / split / name / f"{NAME}.png"
            )
    write_json(folder / "result.json", record([row("s18_pure", [0.1])]))
    return folder


def _line(words: tuple[str, ...], made: Path, out: Path) -> list[str]:
    usual = PRINTS.get(" ".join(words), "--help")
    places = {"in": made / "in.safetensors", "data": made / "data", "made": made, "out": out}
    return [*words, *(word.format(**places) for word in usual.split())]


def _run(monkeypatch: pytest.MonkeyPatch, line: list[str]) -> Any:
    monkeypatch.setattr(sys, "argv", ["spanetv2", *line])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code or 0


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_output_that_nobody_reads_ends_a_command_quietly(
    words: tuple[str, ...], made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    said = io.StringIO()
    with os.fdopen(writer, "w", buffering=1, encoding="utf-8") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        monkeypatch.setattr(sys, "stderr", said)
        status = _run(monkeypatch, _line(words, made, tmp_path / "out"))
    assert status == 141, said.getvalue()
    assert "rror" not in said.getvalue()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_terminal_of_ascii_gets_ascii_without_control_characters(
    words: tuple[str, ...], made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = io.BytesIO(), io.BytesIO()
    for name, stream in (("stdout", out), ("stderr", err)):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(stream, "ascii", write_through=True))
    status = _run(monkeypatch, _line(words, made, tmp_path / "out"))
    said = (out.getvalue() + err.getvalue()).decode("ascii")
    assert status in (0, 1), said
    assert not re.search(r"[\x00-\x08\x0e-\x1f\x7f]", said)
    assert "not foreseen" not in said
    if " ".join(words) in ("predict", "check-data classification"):
        assert r"gr\xfcn\u001b[31m" in said


def _numbers() -> Iterator[tuple[str, str]]:
    for words, command in COMMANDS.items():
        for option in command.params:
            about = getattr(option, "type_descriptor", None)  # of newer versions of typer
            kind = option.type if about is None else about.annotation
            if re.search("int|float", str(kind).lower()):
                yield " ".join(words), option.opts[0]


@pytest.mark.parametrize(("command", "option"), [*_numbers()])
def test_odd_numbers_are_refused_by_one_line(
    command: str,
    option: str,
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = tuple(command.split())
    usual = {
        "quickstart": "--out {out}",
        "export": "{in} --out {out}.onnx",
        "benchmark": "s18_pure",
        "convert-data": "{data} {out}",
        "check-data segmentation": "{data}",
        "check-data detection": "{data}",
        "analyze theory": "--out {out}",
        "analyze model": "{in} --images {data} --out {out}",
    }
    line = usual.get(command, PRINTS.get(command, ""))
    places = {"in": made / "in.safetensors", "data": made / "data", "out": tmp_path / "out"}
    for value in ("nan", "inf", "-1", str(10**30)):
        given = [word.format(**places) for word in line.split()]
        status = _run(monkeypatch, [*words, *given, f"{option}={value}"])
        said = capfd.readouterr().err
        assert status in (1, 2), (value, said)
        assert "not foreseen" not in said
        assert not re.search(r"Traceback|\w(Error|Exception)\b", said), (value, said)
        assert not list(tmp_path.iterdir()), value


@pytest.mark.parametrize(
    "words", [["predict", "w", ""], ["train", "--out", ""], ["convert", "--to="]]
)
def test_an_empty_name_is_named(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, words) == 1
    said = capfd.readouterr().err
    assert len(said.strip().splitlines()) == 1
    assert f"an empty name behind {words[1]}" in said
