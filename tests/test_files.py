import contextlib
import errno
from pathlib import Path

import pytest

from spanetv2.errors import UserError
from spanetv2.files import UniqueNames, atomic_folder, read_json, writing


def test_unique_names_number_what_is_taken():
    names = UniqueNames()
    given = ["a/cat.jpg", "b/cat.png", "cat-2.jpg", "c/cat", "cat-2.png", "d/cat.x"]
    assert [names.name(path) for path in given] == [
        *("cat", "cat-2", "cat-2-2", "cat-3", "cat-2-3", "cat-4")
    ]


@pytest.mark.parametrize("other", ["CAT", "Cat", "cat"])
def test_unique_names_differ_by_more_than_case(other):
    names = UniqueNames()
    assert [names.name("cat.jpg"), names.name(f"{other}.jpg")] == ["cat", f"{other}-2"]


def test_unique_names_differ_by_more_than_the_encoding_of_accents():
    names = UniqueNames()
    assert names.name("caf\u00e9.jpg") == "caf\u00e9"
    assert names.name("cafe\u0301.jpg") == "cafe\u0301-2"


def test_unique_names_escape_what_cannot_be_printed():
    names = UniqueNames()
    assert names.name("in/a\nb\udcff.jpg") == "a\\nb\\udcff"
    assert names.name("") == "image"


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\u6f22", "\udcff"])
def test_unique_names_are_short_enough_for_a_file_system(tmp_path, letter):
    names = UniqueNames()
    made = [names.name(letter * 250 + f"{i}.jpg") for i in range(3)]
    assert len(set(made)) == 3
    for name in made:
        (tmp_path / f".{name}-12345678.part.json").write_text("")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "figures.json: not JSON (.*), expected figures"),
        (b"[" * 100_000, "figures.json: nested too deeply, expected figures"),
        (
            b'{"a": "\xff"}',
            "figures.json (not UTF-8 text: line 1 has the byte 0xff), expected figures",
        ),
        (None, "cannot read .*figures.json (no such file or directory), expected figures"),
    ],
)
def test_json_that_cannot_be_read_is_one_line(tmp_path, content, said):
    path = tmp_path / "figures.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said.replace("(", r"\(").replace(")", r"\)")) as raised:
        read_json(path, expected="figures")
    assert len(str(raised.value).splitlines()) == 1


def test_json_is_read_in_the_encodings_that_people_save(tmp_path):
    path = tmp_path / "figures.json"
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        path.write_text('{"gr\u00fcn": [1.5]}', encoding=encoding)
        assert read_json(path, expected="figures") == {"gr\u00fcn": [1.5]}


def test_errors_that_are_each_others_reason_are_looked_through(tmp_path):
    full, lost = OSError(errno.ENOSPC, "no space left"), RuntimeError("lost")
    full.__context__, lost.__cause__ = lost, full
    with pytest.raises(UserError, match=r"no space left on the device"), writing(tmp_path / "x"):
        raise lost


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_folder_that_is_replaced_outlives_ctrl_c(tmp_path, monkeypatch, moment):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.txt").write_text("old")
    moves, replace = [], Path.replace

    def move(path, target):
        moves.append(path)
        if len(moves) == moment:
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", move)
    interrupted = pytest.raises(KeyboardInterrupt) if moment < 3 else contextlib.nullcontext()
    with interrupted, atomic_folder(tmp_path / "out") as made:
        (made / "new.txt").write_text("new")
    name = "old.txt" if moment < 3 else "new.txt"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


def test_a_folder_that_somebody_else_made_meanwhile_stays(tmp_path):
    def make():
        with atomic_folder(tmp_path / "out") as made:
            (made / "mine.txt").write_text("mine")
            (tmp_path / "out").mkdir()
            (tmp_path / "out" / "theirs.txt").write_text("theirs")

    with pytest.raises(UserError, match=r"out: was made by somebody else meanwhile, and stays"):
        make()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["theirs.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
