"""``python -m studies.mixers`` as a user meets it."""

import sys

import pytest
from tiny_plan import TINY

from spanetv2.cli.main import main
from studies.mixers import plan as plans
from studies.mixers.__main__ import app
from studies.mixers.results import read_results


@pytest.fixture
def run(monkeypatch, capfd):
    """Run a command in this process; gives status, output and errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["studies.mixers", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main(app)
        out, err = capfd.readouterr()
        return int(stopped.value.code or 0), out, err

    return run


def test_runs_measures_and_reports(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(plans.PLANS, "tiny", TINY)
    runs = tmp_path / "runs"
    status, out, err = run("run", "--plan", "tiny", "--out", runs, "--device", "cpu")
    assert status == 0, err
    assert f"2 runs in {runs}" in out
    status, _, err = run("speed", runs, "--plan", "tiny", "--rounds", 2, "--device", "cpu")
    assert status == 0, err
    status, out, err = run("report", runs, "--out", tmp_path / "report")
    assert status == 0, err
    assert "SepConv" in out
    assert "Throughput, in turns" in out
    found = read_results(tmp_path / "report")
    assert len(found.speed) == 2 * 2 * 2
    assert {cost["widths"] for cost in found.costs} == {"matched", "unmatched"}
    again = tmp_path / "again"
    status, _, err = run("report", "--csv", tmp_path / "report", "--out", again)
    assert status == 0, err
    assert (again / "tables.md").read_bytes() == (tmp_path / "report" / "tables.md").read_bytes()
    status, out, err = run("report", runs, "--against", tmp_path / "report")
    assert status == 1  # a single seed gives no interval to be inside of
    assert "expected at least 2" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--plan", "tpu", "--out", "x"), "got plan 'tpu'"),
        (("run", "--rows", "mlp", "--out", "x"), "got row 'mlp'"),
        (("run", "--seeds", "a", "--out", "x"), "got seeds 'a'"),
        (("report",), "expected one of them"),
        (("report", "nowhere"), "no finished runs"),
        (("report", "--csv", "nowhere"), "no runs.csv"),
    ],
)
def test_user_errors_are_one_line(run, arguments, message, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = run(*arguments)
    assert status == 1
    assert err.startswith("error: ")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
