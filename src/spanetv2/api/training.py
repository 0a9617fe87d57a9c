"""``spanetv2.train``, and the configuration that it runs with."""

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spanetv2.api.parts import check_places
from spanetv2.arguments import check_count
from spanetv2.errors import ConfigError

if TYPE_CHECKING:
    from spanetv2.tasks import Task
    from spanetv2.training.configuration import ResolvedRun
    from spanetv2.training.run import RunResult
    from spanetv2.training.sources import Source

__all__ = ["resolve_training", "train"]


def train(
    task: "str | Task",
    config: "Source | Sequence[Source] | None" = None,
    *,
    data: str | PathLike[str] | None = None,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    extend: int | None = None,
    changed_data: bool = False,
    overrides: Mapping[str, Any] | None = None,
    command: str | None = None,
) -> "RunResult":
    """Train a model, measure it, and leave a folder with its weights and metrics.

    What ``spanetv2 train`` runs.

    Args:
        task: name of a task, or a task object.
        config: a recipe's name, the path of a YAML file, or a mapping of groups and values; a
            sequence of these, of which later ones win (in it, a list of words is read as options
            typed on the command line). None takes the defaults; with ``resume``, the
            configuration saved in ``out``.
        data: root of the data set: ``data.root``.
        out: the run folder; None is ``runs/<recipe or model>``.
        resume: go on from the last checkpoint in ``out``, if there is one.
        overwrite: replace the run in ``out``.
        extend: go on with the finished run in ``out`` for so many epochs (updates, in a run counted
            in them), with a new schedule.
        changed_data: let a run go on that has seen other training files or labels.
        overrides: further values by their place, nested or dotted, which win over ``config``:
            ``{"optimizer.lr": 1e-3}``. Objects of Lightning's may be among them:
            ``{"trainer.callbacks": [MyCallback()], "loggers": [MyLogger()]}``.
        command: what ``versions.json`` tells about how the run was started; None describes this
            call.

    Returns:
        The run's folder, weights and metrics.

    Raises:
        ConfigError: a wrong option or value.
        UserError: wrong input; also a loss that became NaN or infinite, or too little memory.
        Interrupted: a signal (Ctrl-C, SIGTERM) stopped it, after saving.

    Example:
        >>> import spanetv2
        >>> spanetv2.train("classification", "digits", overrides={"optimizer.lrr": 1e-3})
        Traceback (most recent call last):
        spanetv2.errors.ConfigError: Group 'optimizer' does not accept option 'lrr'
    """
    if extend is not None:
        check_count("extend", extend, least=1)
    resume = resume or extend is not None
    if resume and overwrite:
        raise ConfigError("got resume or extend and overwrite, expected one of them")
    if changed_data and not resume:
        raise ConfigError(
            "got --changed-data without --resume, expected both, or neither: a run that begins has "
            "seen no data that could have changed"
        )
    task = _task(task)
    resolved = resolve_training(
        task, config, data=data, out=out, resume=resume, extend=extend, overrides=overrides
    )
    from spanetv2.training.run import run_task

    return run_task(
        task,
        resolved,
        command=command or _describe_call(task.name, config, overrides),
        resume=resume,
        overwrite=overwrite,
        changed_data=changed_data,
    )


def _longer(config: Any, max_epochs: int, extend: int) -> dict[str, Any]:
    """The values of a run that goes on for so many epochs or updates after its end.

    Raises:
        ConfigError: none, or updates that are no whole number of validations.
    """
    schedule = config.schedule
    if schedule.updates is None:
        if extend < 1:
            raise ConfigError(f"got extend {extend}, expected 1 epoch or more")
        return {"schedule.begin": max_epochs, "trainer.max_epochs": max_epochs + extend}
    interval = schedule.validation_interval
    if extend < 1 or extend % interval:
        raise ConfigError(
            f"got extend {extend}, expected updates, a multiple of the {interval} between two "
            "validations"
        )
    updates = schedule.updates
    return {
        "schedule.begin": updates,
        "schedule.updates": updates + extend,
        "schedule.validate_every": interval,
    }


def resolve_training(
    task: "str | Task",
    config: "Source | Sequence[Source] | None" = None,
    *,
    data: str | PathLike[str] | None = None,
    out: str | PathLike[str] | None = None,
    resume: bool = False,
    extend: int | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> "ResolvedRun":
    """The whole configuration that ``train`` would run with: every option with its value.

    Args:
        task: as for ``train``, like all the others.

    Raises:
        ConfigError: a wrong option or value.
        UserError: no such recipe.

    Example:
        >>> resolve_training("classification", "digits").trainer_options["max_epochs"]
        25
    """
    from spanetv2.extras import need_extra

    need_extra("train", use="training runs")
    from spanetv2.training.configuration import resolve

    task = _task(task)
    if config is not None and not isinstance(config, (str, PathLike, Mapping, Sequence)):
        raise ConfigError(f"got configuration {config!r}, expected a recipe, a file or a mapping")
    if overrides is not None and not isinstance(overrides, Mapping):
        raise ConfigError(f"got overrides {overrides!r}, expected a mapping of options and values")
    check_places(data=data, out=out)
    single = isinstance(config, (str, PathLike, Mapping))
    sources: list[Source] = [config] if single else [*(config or ())]
    whole = any(isinstance(source, (str, PathLike, Mapping)) for source in sources)
    if data is not None:
        sources.append({"data": {"root": str(data)}})
    if out is not None:
        sources.append({"out": str(out)})
    if overrides:
        sources.append(overrides)
    if (resume or extend is not None) and out is not None and not whole:
        sources = _saved(Path(out), sources)
    resolved = resolve(task, sources)
    if extend is None:
        return resolved
    from spanetv2.training.run import check_run

    assert resolved.config.out is not None
    check_run(Path(resolved.config.out))
    longer = _longer(resolved.config, resolved.trainer_options["max_epochs"], extend)
    return resolve(task, [*sources, longer])


def _task(task: "str | Task") -> "Task":
    from spanetv2.tasks import Task, find_task

    if isinstance(task, str):
        return find_task(task)
    if not isinstance(task, Task):
        raise ConfigError(f"got task {task!r}, expected the name of one, or a Task")
    return task


def _saved(folder: Path, sources: "list[Source]") -> "list[Source]":
    """The sources after the run folder's configuration, if there is one.

    Raises:
        ConfigError: the run was started with classes or functions that are not said again.
    """
    from spanetv2.training.sources import mentions

    config, versions = folder / "config.yaml", folder / "versions.json"
    if not config.is_file():
        return sources
    record = json.loads(versions.read_text(encoding="utf-8")) if versions.is_file() else {}
    latest = [record, *record.get("resumed", [])][-1]
    for key, code in latest.get("left_out", {}).items():
        if not mentions(sources, key):
            raise ConfigError(
                f"{folder} was trained with {key}: {code}, which its config.yaml leaves out, as a "
                f"file names no classes or functions; give --{key} again, null to go on without it"
            )
    return [config, *sources]


def _describe_call(task: str, config: Any, overrides: Mapping[str, Any] | None) -> str:
    parts = [repr(task), *([] if config is None else [_short(config)])]
    if overrides:
        parts.append(f"overrides={_short(overrides)}")
    return f"spanetv2.train({', '.join(parts)})"


def _short(value: Any) -> str:
    """A value as Python text; objects by the name of their class."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_short(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_short, value)) + "]"
    plain = isinstance(value, (str, int, float, bool)) or value is None
    return repr(value) if plain else str(value) if isinstance(value, Path) else type(value).__name__
