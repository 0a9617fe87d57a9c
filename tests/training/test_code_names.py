"""Files name no code: whatever a parser could import from one is refused before it is imported."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import pytest

import spanetv2
from spanetv2.api import resolve_training
from spanetv2.cli.train import main
from spanetv2.errors import ConfigError, UserError
from spanetv2.training.code_names import fields_of, find_code_names

SPECIFICATION = {"class_path": "marker_module.Mark"}


@pytest.fixture
def imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there as soon as anyone imports ``marker_module``."""
    mark = tmp_path / "imported"
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "marker_module.py").write_text(
        "from pathlib import Path\n"
        f"Path({str(mark)!r}).touch()\n"
        "from lightning.pytorch import Callback\n"
        "class Mark(Callback): pass\n"
        "def function(): pass\n"
    )
    monkeypatch.syspath_prepend(str(modules))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "marker_module", raising=False)
    return mark


FILES = {
    "class in a list": "trainer: {callbacks: [{class_path: marker_module.Mark}]}",
    "class alone": "trainer: {callbacks: {class_path: marker_module.Mark}}",
    "name in a list": "trainer: {callbacks: [marker_module.Mark]}",
    "name alone": "trainer: {callbacks: marker_module.Mark}",
    "appended": "trainer: {callbacks+: marker_module.Mark}",
    "dotted": "trainer.callbacks: [marker_module.Mark]",
    "dotted to the class": "trainer.callbacks.class_path: marker_module.Mark",
    "dotted in a group": "trainer: {profiler.class_path: marker_module.Mark}",
    "only its arguments": "trainer: {profiler: {init_args: {filename: marker_module.Mark}}}",
    "text of a list": "trainer: {callbacks: '[{class_path: marker_module.Mark}]'}",
    "text of a mapping": "trainer: {profiler: '{class_path: marker_module.Mark}'}",
    "a profiler's name": "trainer: {profiler: marker_module.Mark}",
    "a strategy's name": "trainer: {strategy: marker_module.Mark}",
    "an accelerator's name": "trainer: {accelerator: marker_module.Mark}",
    "anchor": "seed: &code 1\nmodel: {kwargs: &spec {class_path: marker_module.Mark}}\n"
    "trainer: {callbacks: [*spec]}",
    "merged": "model: {kwargs: {<<: {class_path: marker_module.Mark}}}",
    "anything": "model: {kwargs: {drop: {class_path: marker_module.Mark}}}",
    "anything in a list": "model: {kwargs: {drop: [[{class_path: marker_module.Mark}]]}}",
    "text of anything": "model: {kwargs: {drop: 'class_path: marker_module.Mark'}}",
    "escaped text": r"""model: {kwargs: {drop: '{"class\u005fpath": "marker_module.Mark"}'}}""",
    "text in text": """model: {kwargs: {drop: '{"a": "{class_path: marker_module.Mark}"}'}}""",
    "a whole group": "optimizer: {class_path: marker_module.Mark}",
    "a group's name": "optimizer: marker_module.Mark",
    "the trainer": "trainer: marker_module.Mark",
    "loggers": "loggers: [{class_path: marker_module.Mark}]",
    "JSON": json.dumps({"trainer": {"callbacks": [SPECIFICATION]}}),
    "a file in a value": "trainer: {callbacks: other.yaml}",
    "a file for a group": "trainer: other.yaml",
    "YAML's own objects": "seed: !!python/object/apply:marker_module.function []",
}


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
def test_a_file_that_names_code_is_refused_before_anything_is_imported(
    text: str, imported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.yaml").write_text(text)
    Path("other.yaml").write_text("callbacks: [{class_path: marker_module.Mark}]")
    assert main(["classification", "--config", "digits", "--config", "mine.yaml"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert "mine.yaml" in line
    assert not imported.exists()
    assert not Path("runs").exists()


def test_the_message_names_the_key_and_what_to_do(imported: Path) -> None:
    Path("mine.yaml").write_text(FILES["class in a list"])
    message = (
        r"mine\.yaml: trainer\.callbacks is marker_module\.Mark, .* a file names no classes or "
        r"functions, .*give --trainer\.callbacks on the command line, or from Python"
    )
    with pytest.raises(ConfigError, match=message):
        spanetv2.train("classification", ["mine.yaml"])
    with pytest.raises(ConfigError, match=message):
        spanetv2.train("classification", ["mine.yaml", "digits"])
    Path("mine.yaml").write_text("trainer: {strategy: dpp}")
    with pytest.raises(ConfigError, match=r"trainer\.strategy is dpp, expected one of auto, .*ddp"):
        spanetv2.train("classification", "mine.yaml")
    Path("mine.yaml").write_text("model: {kwargs: &a {b: *a}}")
    with pytest.raises(ConfigError, match="contains itself"):
        spanetv2.train("classification", "mine.yaml")
    assert not imported.exists()


def test_a_group_typed_as_a_file_is_read_like_any_file(
    imported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("group.yaml").write_text("callbacks: [{class_path: marker_module.Mark}]")
    for words in (["--trainer=group.yaml"], ["--trainer", "group.yaml"]):
        assert main(["classification", "--config", "digits", *words]) == 2
        assert "group.yaml: trainer.callbacks is marker_module.Mark" in capsys.readouterr().err
    assert main(["classification", "--config=digits", "--trainer.callbacks=group.yaml"]) == 2
    assert not imported.exists()
    for key in ("trainer", "optimizer"):
        with pytest.raises(ConfigError, match=f"{key}: got 'group.yaml', expected a mapping"):
            resolve_training("classification", "digits", overrides={key: "group.yaml"})
    assert not imported.exists()
    Path("group.yaml").write_text("lr: 0.5\n")
    for words in (["--optimizer=group.yaml"], ["--optimizer", "group.yaml"]):
        config = resolve_training("classification", ["digits", ["--seed=1", *words]]).config
        assert (config.optimizer.lr, config.optimizer.name, config.seed) == (0.5, "adamw", 1)


GROUPED = """
from dataclasses import dataclass
from typing import Any
from lightning.pytorch import Callback

@dataclass
class Options:
    value: Any = None

class Grouped(Callback):
    def __init__(self, options: Options = Options()):
        self.options = options
"""
TYPED = "--trainer.callbacks=grouped.Grouped"
CLASS = {"class_path": "grouped.Grouped", "init_args": {"options": "arguments.yaml"}}


@pytest.mark.parametrize(
    "source",
    [
        [TYPED, "--trainer.callbacks.options=arguments.yaml"],
        [TYPED, "--trainer.callbacks.init_args.options", "arguments.yaml"],
        [f"--trainer.callbacks={json.dumps(CLASS)}"],
        {"trainer.callbacks": CLASS},
    ],
)
def test_a_file_for_arguments_of_a_typed_class_names_no_code(source: Any, imported: Path) -> None:
    Path("modules/grouped.py").write_text(GROUPED)
    path = Path("arguments.yaml")
    path.write_text("value: {class_path: marker_module.Mark}")
    with pytest.raises(ConfigError, match=r"arguments\.yaml: value is marker_module\.Mark"):
        resolve_training("classification", ["digits", source])
    assert not imported.exists()
    path.write_text("value: 3")
    resolve_training("classification", ["digits", source])


def test_the_environment_names_no_code(imported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine.yaml").write_text(FILES["class in a list"])
    monkeypatch.setenv("JSONARGPARSE_DEFAULT_ENV", "true")
    for prefix in ("PL", "SPANETV2", "SPANETV2_TRAIN_CLASSIFICATION", "TRAIN"):
        monkeypatch.setenv(f"{prefix}_CONFIG", "mine.yaml")
        monkeypatch.setenv(f"{prefix}_TRAINER__CALLBACKS", "marker_module.Mark")
    resolved = resolve_training("classification", "digits", overrides={"seed": 3})
    assert resolved.trainer_options["callbacks"] is None
    assert not imported.exists()


def test_plain_values_of_the_trainer_come_from_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "trainer:\n  strategy: ddp\n  accelerator: gpu\n  precision: bf16-mixed\n  devices: [0, 2]"
        "\n"
        "  profiler: simple\n  max_time: '00:12:00:00'\n  callbacks: null\n  max_epochs: 3\n"
        "  limit_val_batches: 0.5\n  deterministic: warn\n"
        "model: {kwargs: {act_layer: gelu, dims: [1, 2], options: {name: spam}}}\n"
        "optimizer: {lr: 1e-4}\n"
    )
    resolved = resolve_training("classification", ["digits", path])
    options = resolved.trainer_options
    assert [options[name] for name in ("strategy", "accelerator", "devices", "profiler")] == [
        *("ddp", "gpu", [0, 2], "simple")
    ]
    assert options["deterministic"] == "warn"
    assert resolved.config.optimizer.lr == 1e-4
    assert resolved.left_out == {}
    # and what is written is read again
    path.write_text(resolved.text)
    assert resolve_training("classification", path).text == resolved.text.replace(
        "runs/digits", "runs/mine"
    )


def test_typed_classes_and_those_from_python_are_taken(imported: Path) -> None:
    for source in (
        ["--trainer.callbacks=marker_module.Mark"],
        ['--trainer.callbacks=[{"class_path": "marker_module.Mark"}]'],
        {"trainer": {"callbacks": [SPECIFICATION]}},
        {"trainer.callbacks": "marker_module.Mark"},
    ):
        resolved = resolve_training("classification", ["digits", source])
        assert "marker_module.Mark" in str(resolved.trainer_options["callbacks"])
        assert "#   trainer.callbacks: marker_module.Mark\n" in resolved.text
        assert resolved.plain["trainer"]["callbacks"] is None
    assert imported.exists()


# types that a task's own configuration may use ---------------------------------------------------


class Thing:
    """A class that text could name."""


@dataclass(kw_only=True)
class Inner:
    size: int = 1
    make: Callable[[], int] | None = None


@dataclass(kw_only=True)
class Outer:
    name: str = ""
    mode: Literal["a", "b"] | int | None = None
    folder: Path | None = None
    time: timedelta | None = None
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    several: list[Inner] = field(default_factory=list)
    by_name: dict[str, Inner] = field(default_factory=dict)
    thing: Thing | str | None = None
    kind: type[Thing] = Thing
    call: Callable[[], int] | None = None
    calls: list[Callable[[], int]] = field(default_factory=list)
    table: dict[str, type] = field(default_factory=dict)
    free: Any = None


@pytest.mark.parametrize(
    "values",
    [
        {"name": "a.b", "mode": "a", "folder": "a/b.c", "time": "1 day", "free": "a.b"},
        {"inner": {"size": 2}, "maybe": {"size": "2"}, "several": [{"size": 3}]},
        {"by_name": {"a.b": {"size": 1}}, "thing": None, "calls": [], "table": {}},
        {"free": {"a": [1, "b.c", None, {"d": 1.5}]}, "inner.size": 4},
    ],
)
def test_plain_values_are_no_code(values: dict[str, Any]) -> None:
    assert list(find_code_names(values, fields_of(Outer))) == []


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"thing": "a.b"}, "thing"),
        ({"thing": {"size": 1}}, "thing"),
        ({"kind": "a.b"}, "kind"),
        ({"call": "a.b"}, "call"),
        ({"calls": ["a.b"]}, "calls"),
        ({"calls": "[a.b]"}, "calls"),
        ({"table": {"x": "a.b"}}, "table.x"),
        ({"inner": {"make": "a.b"}}, "inner.make"),
        ({"inner.make": "a.b"}, "inner.make"),
        ({"maybe": {"make": "a.b"}}, "maybe.make"),
        ({"maybe": "a.b"}, "maybe"),
        ({"maybe": "{make: a.b}"}, "maybe"),
        ({"several": [{"size": 1}, {"make": "a.b"}]}, "several"),
        ({"several": "[{make: a.b}]"}, "several"),
        ({"by_name": {"x": {"make": "a.b"}}}, "by_name.x.make"),
        ({"free": len}, "free"),
        ({"free": {"a": Thing}}, "free.a"),
        ({"free": [Thing()]}, "free"),
    ],
)
def test_what_a_parser_could_import_is_code(values: dict[str, Any], key: str) -> None:
    assert [name.key for name in find_code_names(values, fields_of(Outer))][:1] == [key]


def test_a_file_is_for_one_task(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 3\n")
    for task in ("classification", "detection"):
        assert resolve_training(task, path).plain["task"] == task
    path.write_text("task: detection\nseed: 3\n")
    expected = f"got {path}, a recipe for detection; use spanetv2 train detection"
    with pytest.raises(UserError, match=re.escape(expected)):
        resolve_training("classification", path)
    path.write_text("task: [detection]\n")
    with pytest.raises(UserError, match="task is \\['detection'\\], expected a name"):
        resolve_training("classification", path)
