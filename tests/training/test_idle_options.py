"""Options that would do nothing beside the others are refused, where a user gave them."""

from pathlib import Path
from typing import Any

import pytest

import spanetv2
from spanetv2.api import resolve_training
from spanetv2.cli.train import main
from spanetv2.errors import ConfigError

UPDATES = "scenes/segmentation"


@pytest.mark.parametrize(
    ("task", "recipe", "option", "value"),
    [
        ("segmentation", UPDATES, "trainer.max_epochs", 1),
        ("segmentation", UPDATES, "trainer.min_epochs", 5),
        ("segmentation", "ade20k/semantic_fpn_s18_pure", "auxiliary_weight", 0.2),
        ("classification", "digits", "ema.warmup", False),
        ("classification", "digits", "schedule.decay_rate", 0.3),
        ("classification", "digits", "schedule.decay_milestones", [2, 3]),
        ("detection", "coco/mask_rcnn_s18_pure_3x", "schedule.decay_epochs", 3),
    ],
)
def test_idle_options_are_refused(task: str, recipe: str, option: str, value: Any) -> None:
    group, _, name = option.rpartition(".")
    typed = str(value).replace(" ", "")
    for said in (
        [f"--{option}", typed],
        [f"--{option}={typed}"],
        {option: value},
        {group: {name: value}} if group else {name: value},
        [f"--{group}", f"{{{name}: {typed}}}"] if group else [f"--{name}={typed}"],
    ):
        with pytest.raises(ConfigError, match=rf"^got {option} .*, expected ") as caught:
            resolve_training(task, [recipe, said])
        assert "\n" not in str(caught.value)


def test_options_that_act_are_taken() -> None:
    epochs = {"schedule": {"updates": None, "validate_every": None}, "trainer.max_epochs": 3}
    assert resolve_training("segmentation", [UPDATES, epochs]).trainer_options["max_epochs"] == 3
    resolve_training("segmentation", [UPDATES, ["--trainer.max_epochs", "null"]])
    resolve_training("segmentation", ["ade20k/upernet_s18_pure", {"auxiliary_weight": 0.2}])
    resolve_training("classification", ["digits", {"ema": {"decay": 0.9, "warmup": False}}])
    resolve_training(
        "classification", ["digits", ["--schedule.name=step", "--schedule.decay_rate=0.3"]]
    )
    resolve_training("segmentation", [UPDATES, ["--trainer", "{devices: 1}"]])


def test_whole_configurations_are_taken_from_files_and_python(tmp_path: Path) -> None:
    whole = resolve_training("segmentation", UPDATES)
    path = tmp_path / "config.yaml"
    path.write_text(whole.text)
    assert resolve_training("segmentation", str(path), out=whole.config.out).text == whole.text
    assert resolve_training("segmentation", whole.plain).text == whole.text


def test_changed_data_of_a_run_that_begins_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match="got --changed-data without --resume, expected both"):
        spanetv2.train("classification", "digits", out=out, changed_data=True)
    assert main(["classification", "--config=digits", f"--out={out}", "--changed-data"]) == 2
    assert "--changed-data without --resume" in capsys.readouterr().err
    assert not out.exists()
