"""``spanetv2 scenes`` as a user meets it."""

import json
import sys

import pytest
from PIL import Image

from spanetv2.cli.main import main


@pytest.fixture
def run(monkeypatch, capfd):
    def run(*arguments: object):
        monkeypatch.setattr(sys, "argv", ["spanetv2", "scenes", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main()
        return stopped.value.code or 0, *capfd.readouterr()

    return run


def test_scenes_writes_a_data_set_and_a_picture(run, tmp_path):
    out, picture = tmp_path / "scenes", tmp_path / "sheet.png"
    status, said, err = run(
        *(out, "--train", 3, "--val", 2, "--seed", 5, "--size", 96, "--picture", picture)
    )
    assert status == 0, err
    assert said == f"3 scenes to train on and 2 held out in {out}\n"
    assert "5/5" in err, "no progress was shown"
    assert len(list((out / "images" / "training").glob("*.jpg"))) == 3
    assert len(list((out / "annotations" / "validation").glob("*.png"))) == 2
    record = json.loads((out / "scenes.json").read_text())
    assert (record["train"], record["val"], record["seed"]) == (3, 2, 5)
    assert record["settings"]["size"] == 96
    with Image.open(picture) as sheet:
        assert sheet.size == (3 * 102 - 6, 2 * 96 + 6)


def test_bad_input_is_one_line(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("")
    for arguments, message in (
        ((tmp_path / "new", "--train", 0, "--val", 0), "got 0 + 0 scenes"),
        ((tmp_path / "new", "--size", 32), "got scenes of 32 pixels, expected at least 96"),
        ((tmp_path / "mine", "--train", 1, "--overwrite"), "with other files in it"),
        ((tmp_path / "mine" / "file", "--train", 1), "a file, expected a folder"),
    ):
        status, _, err = run(*arguments)
        assert status == 1
        assert message in err
        assert len(err.strip().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]
