"""Parts that are run, stopped, gone on with and reported."""

import dataclasses
import sys

import pytest
from PIL import Image
from tiny_scale import TINY

from spanetv2.cli.main import main
from spanetv2.errors import UserError
from studies.evidence import scale as scales
from studies.evidence.__main__ import app
from studies.evidence.part import Context
from studies.evidence.parts import PARTS
from studies.evidence.report import read_parts, report, write_report
from studies.evidence.run import affordable_updates, run_part
from studies.evidence.store import Store

CONTEXT = Context(scale=TINY)


@pytest.fixture
def tiny(monkeypatch) -> None:
    monkeypatch.setitem(scales.SCALES, "tiny", TINY)


@pytest.fixture
def command(tiny, monkeypatch, capfd):
    """Run a command in this process; gives status, output and errors."""

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["studies.evidence", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            main(app)
        out, err = capfd.readouterr()
        return int(stopped.value.code or 0), out, err

    return command


def test_a_part_goes_on_from_its_rows(tmp_path) -> None:
    part = PARTS["accuracy"]
    first = run_part(part, CONTEXT, tmp_path, updates=2, seeds=(0,))
    assert [(run["row"], run["seed"]) for run in first.runs] == [("spam", 0), ("attention", 0)]
    before = (tmp_path / "accuracy" / "runs.csv").read_text()
    # a run that was killed between its curve and its line
    curves = tmp_path / "accuracy" / "curves.csv"
    left = curves.read_text().splitlines()[-1].replace("attention,", "attention,", 1)
    curves.write_text(curves.read_text() + left.replace(",0,", ",1,", 1) + "\n")
    second = run_part(part, CONTEXT, tmp_path)
    assert (tmp_path / "accuracy" / "runs.csv").read_text().startswith(before)
    assert [(run["row"], run["seed"]) for run in second.runs[2:]] == [("spam", 1), ("attention", 1)]
    assert {run["updates"] for run in second.runs} == {2}  # as the first call decided
    keys = [(row["row"], row["seed"], row["update"]) for row in second.tables["curves"]]
    assert len(keys) == len(set(keys)) == 8
    with pytest.raises(UserError, match="holds runs with updates 2, got 3"):
        run_part(part, CONTEXT, tmp_path, updates=3)


def test_rates_that_were_tuned_are_taken(tmp_path) -> None:
    whole = run_part(PARTS["tuning"], CONTEXT, tmp_path, updates=2, conditions=None)
    assert len(whole.runs) == 4
    best = max((r for r in whole.runs if r["row"] == "spam"), key=lambda r: r["held_out_top1"])
    found = run_part(PARTS["accuracy"], CONTEXT, tmp_path, updates=1, seeds=(0,))
    assert found.runs[0]["lr"] == float(best["lr"])


def test_seeds_together_are_seeds_apart(tmp_path) -> None:
    together = dataclasses.replace(CONTEXT, vectorised=True)
    one = run_part(PARTS["accuracy"], together, tmp_path / "a", updates=2)
    other = run_part(PARTS["accuracy"], CONTEXT, tmp_path / "b", updates=2)
    for run in one.runs:
        (same,) = [r for r in other.runs if (r["row"], r["seed"]) == (run["row"], run["seed"])]
        assert run["loss"] == pytest.approx(same["loss"], rel=1e-3)


def test_runs_side_by_side_are_runs_in_turn(tiny, tmp_path) -> None:
    part = PARTS["accuracy"]
    turns = run_part(part, CONTEXT, tmp_path / "turns", updates=2)
    side = run_part(part, CONTEXT, tmp_path / "side", updates=2, workers=2)
    assert len(side.runs) == 4
    for name in ("runs", "curves"):
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in turns.tables[name]]
        found = [{k: v for k, v in row.items() if k != "seconds"} for row in side.tables[name]]
        assert all(row in found for row in rows)
    tables = [report(read_parts(tmp_path / name))[0] for name in ("turns", "side")]
    assert tables[0] == tables[1]
    together = dataclasses.replace(CONTEXT, vectorised=True)
    with pytest.raises(UserError, match="got 2 workers, expected 1"):
        run_part(part, together, tmp_path / "turns", workers=2)


def test_length_follows_from_the_time() -> None:
    part, conditions = PARTS["accuracy"], [{"row": "attention"}]
    assert affordable_updates(part, CONTEXT, conditions, 1, minutes=10_000) == 4  # the scale's
    with pytest.raises(UserError, match=r"got 1e-06 minutes for part accuracy, expected at least"):
        affordable_updates(part, CONTEXT, conditions, 1, minutes=1e-6)


def test_every_part_is_run_and_reported(command, tmp_path) -> None:
    chosen = {
        "rates": "lr=0.003,variant=SPAM,variant=attention",
        "gates": "variant=as published,variant=no filter,variant=norm in front",
        "cues": "band=high,row=spam_3,row=spam_9",
        "bands": "removed=nothing,removed=high,row=spam",
    }
    for part, only in chosen.items():
        arguments = ("--part", part, "--scale", "tiny", "--updates", 4, "--only", only)
        arguments += ("--workers", 1)
        status, out, err = command("run", *arguments, "--seeds", "0", "--out", tmp_path)
        assert status == 0, err
        assert f"{part}: " in out
        assert (tmp_path / part / "about.json").is_file()
    status, out, err = command("report", tmp_path)
    assert status == 0, err
    for words in (
        "The filter's variants (tiny, 4 updates, partial: 3 of 26 runs)",
        "digits, high-frequency textures",
        "Top-1 % with a band removed",
        "one seed: not decided (partial)",
    ):
        assert words in out
    pictures = sorted((tmp_path / "report").glob("*.png"))
    assert [path.stem for path in pictures] == [
        f"evidence_tiny_{name}" for name in ("bands", "cues", "gates", "rates")
    ]
    for path in pictures:
        assert sum(Image.open(path).convert("L").histogram()[:128]) > 500
    waves = Store(tmp_path / "bands", PARTS["bands"].keys).tables["waves"]
    assert len(waves) == (7 * 7 - 1) / 2
    assert min(wave["gain"] for wave in waves) > 0
    tables = (tmp_path / "report" / "tables.md").read_text()
    write_report(tmp_path, tmp_path / "again")
    assert (tmp_path / "again" / "tables.md").read_text() == tables


def test_throughput_counts_all_seeds(command, tmp_path) -> None:
    out = tmp_path / "speed.csv"
    arguments = ("--scale", "tiny", "--updates", 2, "--warmup", 1, "--vectorised")
    status, said, err = command("throughput", "--out", out, *arguments)
    assert status == 0, err
    assert "attention: " in said
    assert len(out.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--part", "colour", "--out", "x"), "got part 'colour'"),
        (("run", "--part", "gates", "--scale", "tpu", "--out", "x"), "got scale 'tpu'"),
        (("run", "--part", "gates", "--seeds", "a", "--out", "x"), "got seeds 'a'"),
        (("run", "--part", "cues", "--only", "row=mlp", "--out", "x"), "got --only row=mlp"),
        (("run", "--part", "cues", "--only", "row", "--out", "x"), "expected pairs"),
        (("report", "nowhere"), "no part with runs"),
    ],
)
def test_user_errors_are_one_line(command, arguments, message, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    status, _, err = command(*arguments)
    assert status == 1
    assert err.startswith("error: ")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
