import pytest
from typer.testing import CliRunner

from spanetv2.cli.main import make_app
from spanetv2.errors import UserError


def run(*arguments):
    return CliRunner().invoke(make_app(), ["analyze", "theory", *map(str, arguments)])


def test_analyze_theory_writes_the_report(tmp_path):
    out = tmp_path / "new" / "report"
    result = run("--out", out, "--grid", 4, "--draws", 1, "--seed", 7)
    assert result.exit_code == 0, result.output
    assert str(out / "index.html") in result.stdout
    text = (out / "index.html").read_text(encoding="utf-8")
    assert "spanetv2 analyze theory --grid 4 --draws 1 --seed 7" in text
    assert "21/21" in result.stderr  # the progress bar reached its end
    assert (out / "curves.csv").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", "3"], "got a grid of 3 tokens a side, expected at least 4"),
        (["--draws", "0"], "got 0 draws, expected at least 1"),
        (["--seed", "-1"], "got seed=-1, expected 0 or more"),
    ],
)
def test_analyze_theory_refuses_settings_in_one_line(tmp_path, arguments, message):
    result = run("--out", tmp_path / "out", *arguments)
    assert isinstance(result.exception, UserError)
    assert str(result.exception) == message
    assert not (tmp_path / "out").exists()


def test_analyze_theory_refuses_a_file_as_folder(tmp_path):
    (tmp_path / "out").write_text("mine")
    result = run("--out", tmp_path / "out", "--grid", 4, "--draws", 1)
    assert isinstance(result.exception, UserError)
    assert "expected a folder" in str(result.exception)
    assert (tmp_path / "out").read_text() == "mine"
