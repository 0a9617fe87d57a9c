"""From what a user says, in files, in Python and on the command line, to a run's configuration."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from jsonargparse import Namespace
from lightning.pytorch import Callback

from spanetv2.errors import ConfigError
from spanetv2.training.code_names import describe_code, find_code_names
from spanetv2.training.config import BaseRunConfig
from spanetv2.training.parser import RunParser
from spanetv2.training.recipes import ConfigFile, find_recipe, read_config_file
from spanetv2.training.sources import (
    Source,
    check_class_arguments,
    check_groups,
    mentions,
    plain_values,
    said_by_hand,
    short_line,
    split_words,
)
from spanetv2.training.task import TrainingTask

__all__ = ["ResolvedRun", "resolve"]


@dataclass(frozen=True, kw_only=True)
class ResolvedRun:
    """A run's whole configuration.

    Args:
        config: everything but the Trainer's options, of the task's class.
        trainer_options: keyword arguments of Lightning's Trainer.
        text: all of it as YAML, but for what a file may not hold.
        left_out: what the text leaves out, by option: the classes and functions that it names.
    """

    config: BaseRunConfig
    trainer_options: dict[str, Any]
    text: str
    left_out: dict[str, str]

    @property
    def plain(self) -> dict[str, Any]:
        """The text's values."""
        return yaml.safe_load(self.text)


def resolve(task: TrainingTask, sources: Sequence[Source]) -> ResolvedRun:
    """Put a run's configuration together.

    Args:
        task: what is trained.
        sources: what was said, in order: later ones win. Files may not name classes or functions.
            The ``out`` of a file is not looked at, so that a run's ``config.yaml`` repeats the run
            in another folder.

    Raises:
        ConfigError: a file for another task or one that names code, an unknown option, or a value
            that does not fit.
        UserError: no such recipe.
    """
    parser = RunParser(task.name, task.config)
    values = parser.defaults()
    objects: dict[str, Any] = {}
    first_file: Path | None = None
    for source in sources:
        if isinstance(source, (str, PathLike)):
            file = read_config_file(find_recipe(str(source)))
            first_file = first_file or file.path
            values = _add_file(parser, task, file, values)
        elif isinstance(source, Mapping):
            said = _without_task(task, source)
            check_groups(parser, said)
            check_class_arguments(said)
            objects = {key: value for key, value in objects.items() if not mentions([said], key)}
            said, new_objects = _take_objects(parser, said)
            objects |= new_objects
            values = parser.add_values(said, values)
        else:
            for part in split_words(parser, source):
                if isinstance(part, ConfigFile):
                    values = _add_file(parser, task, part, values)
                else:
                    values = parser.add_words(part, values)
    if values["out"] is None:
        values["out"] = str(Path("runs") / _name(task, values, first_file))
    _refuse_nulls(task.config, values)
    config, trainer_options = parser.build(values)
    idle = config.idle_options()
    if not task.in_updates:  # schedule.updates is what is wrong then, and told as that
        idle = {key: told for key, told in idle.items() if not key.startswith("trainer.")}
    for key in said_by_hand(sources, parser.defaults().as_flat().__dict__):
        if (expected := idle.get(key)) and values[key] is not None:
            raise ConfigError(f"got {key} {values[key]}, expected {expected}")
    plain, code = _without_code(parser, values)
    for key, value in objects.items():
        group, _, name = key.rpartition(".")
        if group:
            trainer_options[name] = value
        else:
            setattr(config, name, value)
    left_out = code | {key: describe_code(value) for key, value in objects.items()}
    text = _header(task, left_out) + parser.dump(parser.add_values(plain, parser.defaults()))
    return ResolvedRun(config=config, trainer_options=trainer_options, text=text, left_out=left_out)


def _refuse_nulls(kind: type, values: Any, group: str = "") -> None:
    """Refuse null where a value is needed, which the parser takes for any option.

    Raises:
        ConfigError: naming the option.
    """
    for field, annotation in get_type_hints(kind).items():
        value = values.get(field, ...)
        if dataclasses.is_dataclass(annotation) and isinstance(value, Namespace):
            _refuse_nulls(annotation, value, f"{group}{field}.")  # pyright: ignore
        elif value is None and annotation in (int, float, str, bool):
            raise ConfigError(f"{group}{field}: got null, expected a value ({annotation.__name__})")


def _name(task: TrainingTask, values: Namespace, file: Path | None) -> str:
    """What the run folder is called, where nothing else is said; processes of a run must agree."""
    if file is not None:
        return file.stem
    name = values.get("model.name") or values.get("weights")
    # without hf-hub: or local-dir:
    return task.name if name is None else Path(str(name).rpartition(":")[2]).stem


# sources -----------------------------------------------------------------------------------------


def _add_file(
    parser: RunParser, task: TrainingTask, file: ConfigFile, values: Namespace
) -> Namespace:
    said = plain_values(file, parser, task=task.name)
    try:
        return parser.add_values(said, values)
    except ConfigError as error:
        raise ConfigError(f"{file.path}: {error}") from error


def _without_task(task: TrainingTask, values: Mapping[str, Any]) -> dict[str, Any]:
    said = dict(values)
    if (name := said.pop("task", task.name)) not in (None, task.name):
        raise ConfigError(f"got a configuration for {name}, expected one for {task.name}")
    return said


def _take_objects(
    parser: RunParser, values: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take out Lightning's objects, which the parser would copy, by option."""
    objects: dict[str, Any] = {}
    groups = {"": values}
    if isinstance(values.get("trainer"), Mapping):
        groups["trainer."] = values["trainer"] = dict(values["trainer"])
    for prefix, group in groups.items():
        for name, value in list(group.items()):
            key = prefix + name
            if (key == "loggers" or key.startswith("trainer.")) and _holds_object(value):
                objects[key] = value
                del group[name]
    for key, value in objects.items():
        if key == "loggers":
            continue
        if key not in parser.options:
            hint = "; give loggers" if key == "trainer.logger" else ""
            raise ConfigError(f"got {key}, which is no option of a run{hint}")
        if key == "trainer.callbacks":
            callbacks = value if isinstance(value, (list, tuple)) else [value]
            if not all(isinstance(callback, Callback) for callback in callbacks):
                raise ConfigError(
                    f"trainer.callbacks: got {describe_code(value)}, expected objects of "
                    "lightning.pytorch.Callback"
                )
            objects[key] = list(callbacks)
    return values, objects


def _holds_object(value: Any) -> bool:
    names = find_code_names({"value": value}, {"value": Any})
    return any(not isinstance(name.value, (str, Mapping)) for name in names)


# text --------------------------------------------------------------------------------------------


def _without_code(parser: RunParser, values: Namespace) -> tuple[dict[str, Any], dict[str, str]]:
    """(values without what names code, what they named)."""
    plain = values.as_dict()
    names: dict[str, list[Any]] = {}
    for name in list(find_code_names(plain, parser.group, short_names=parser.short_names)):
        names.setdefault(name.key, []).append(name.value)
        plain = _without(plain, name.path)
    return plain, {key: describe_code(value) for key, value in names.items()}


def _without(values: dict[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """Nested mappings without an entry."""
    key, *rest = path
    if rest and isinstance(values.get(key), dict):
        return {**values, key: _without(values[key], rest)}
    return {name: value for name, value in values.items() if name != key}


def _header(task: TrainingTask, left_out: Mapping[str, str]) -> str:
    text = f"task: {task.name}\n"
    if left_out:
        text += "# Left out, as a file names no classes or functions; give again on resuming:\n"
        text += "".join(f"#   {key}: {short_line(code)}\n" for key, code in left_out.items())
    return text
