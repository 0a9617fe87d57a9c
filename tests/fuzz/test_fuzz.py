"""Two hundred inputs of every kind, always the same ones, and all that once found a fault."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.fuzz.kinds import recipes
from tests.fuzz.run import FaultError, kept_cases, run_input, working
from tests.fuzz.worker import Worker

INPUTS = 200
CASES = kept_cases()


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Worker, Path]]:
    with working() as place:
        yield place


@pytest.mark.parametrize("name", CASES)
def test_an_input_that_found_a_fault_finds_none(name: str, place: tuple[Worker, Path]) -> None:
    run_input(*place, CASES[name])


def test_no_input_finds_a_fault(place: tuple[Worker, Path]) -> None:
    home = Path(tempfile.mkdtemp(prefix="hypothesis-"))
    hypothesis.configuration.set_hypothesis_home_dir(home)
    count = 0

    @settings(
        max_examples=INPUTS,
        derandomize=True,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(made=recipes())
    def look(made: dict[str, Any]) -> None:
        nonlocal count
        count += 1
        run_input(*place, made)

    look()
    assert count >= INPUTS


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["predict", "spanetv2_pico_pure.fashion_mnist", "none"], "found no image|no such"),
        (["check-data", "classification", "/etc/none"], "none"),
    ],
)
def test_the_worker_tells_what_a_command_did(
    argv: list[str], message: str, place: tuple[Worker, Path]
) -> None:
    worker, folder = place
    outcome = worker.run(argv, folder)
    assert outcome.status in (1, 2)
    assert "error" in outcome.err
    assert outcome.reached == []


def test_the_oracle_sees_what_is_silently_wrong(place: tuple[Worker, Path]) -> None:
    from tests.fuzz import coco, predictions
    from tests.fuzz.worker import Outcome

    folder = place[1] / "silent"
    folder.mkdir()
    picture = {"mode": "L", "size": [9, 9], "seed": 1, "orientation": 1, "ending": ".png"}
    sound, broken = {**picture, "damage": []}, {**picture, "damage": [["cut", 0.5, 0]]}
    recipe = {"task": "c", "images": [["a", sound], ["b", broken]], "endings": [], "links": ""}
    predictions.build(recipe, folder)
    plain: dict[str, Any] = {"status": 0, "err": "", "seconds": 1.0, "reached": []}
    answers = "in/a.png\tBag\t0.5\nin/b.png\tBag\t0.5\n"
    assert predictions.judge(recipe, folder, Outcome(out=answers, **plain)) == [
        "answered without a word for 'b.png', which Pillow cannot decode"
    ]
    objects = [[0, 0, [1, 1, 5, 5], "box"], [0, 0, [1, 1, 4, 4], "box"]]
    recipe = {"images": [sound], "objects": objects, "edits": [], "dropped": [], "damage": []}
    recipe |= {"command": "check", "names": "own"}
    coco.build(recipe, folder)
    table = (
        "val: 0 errors, 0 remarks\nclass  objects\nleaf         1\nstone        0\nx            0\n"
    )
    (fault,) = coco.judge(recipe, folder, Outcome(out=table, **plain))
    assert "pycocotools has {'leaf': 2}" in fault
    sound_table = table.replace("leaf         1", "leaf         2")
    assert coco.judge(recipe, folder, Outcome(out=sound_table, **plain)) == []


def test_a_fault_is_raised_with_what_the_command_said(
    place: tuple[Worker, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.fuzz import run

    monkeypatch.setattr(run, "faults_of", lambda *_: ["a fault"])
    recipe = {"command": "models", "replaced": [], "options": [], "more": []}
    with pytest.raises(FaultError, match="models: a fault") as raised:
        run_input(*place, {"kind": "commands", "recipe": recipe})
    assert raised.value.sort == "silently wrong"
