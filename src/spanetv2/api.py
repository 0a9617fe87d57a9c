"""The commands as functions: ``spanetv2.train``, ``evaluate`` and ``predict``.

Importing this module costs nothing: what a function needs is imported when it is called.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spanetv2 import kept
from spanetv2.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from spanetv2.data.images import Failure
    from spanetv2.models.weights.read import Checkpoint
    from spanetv2.precision import Precision
    from spanetv2.tasks import Task
    from spanetv2.tasks.evaluation import Evaluation
    from spanetv2.tasks.prediction import Answer, Predictions, PredictionWriter
    from spanetv2.training.configuration import ResolvedRun
    from spanetv2.training.run import RunResult
    from spanetv2.training.sources import Source

__all__ = ["evaluate", "predict", "resolve_training", "train"]

_FAILURES = 1000


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
    resume = resume or extend is not None
    if resume and overwrite:
        raise ConfigError("got resume or extend and overwrite, expected one of them")
    task = _task(task)
    resolved = resolve_training(
        task, config, data=data, out=out, resume=resume, overrides=overrides
    )
    if extend is not None:
        longer = _longer(resolved.config, resolved.trainer_options["max_epochs"], extend)
        resolved = resolve_training(
            task,
            config,
            data=data,
            out=out,
            resume=resume,
            overrides={**(overrides or {}), **longer},
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
    single = isinstance(config, (str, PathLike, Mapping))
    sources: list[Source] = [config] if single else [*(config or ())]
    whole = any(isinstance(source, (str, PathLike, Mapping)) for source in sources)
    if data is not None:
        sources.append({"data": {"root": str(data)}})
    if out is not None:
        sources.append({"out": str(out)})
    if overrides:
        sources.append(overrides)
    if resume and out is not None and not whole:
        sources = _saved(Path(out), sources)
    return resolve(task, sources)


def _task(task: "str | Task") -> "Task":
    from spanetv2.tasks import find_task

    return find_task(task) if isinstance(task, str) else task


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


def evaluate(
    checkpoint: "str | PathLike[str] | Checkpoint",
    data: str | PathLike[str] | None = None,
    *,
    dataset: str | None = None,
    split: str | None = None,
    batch_size: int | None = None,
    device: "str | torch.device" = "auto",
    dtype: str = "auto",
    workers: int = 0,
    json: str | PathLike[str] | None = None,
    picture: str | PathLike[str] | None = None,
    progress: bool = False,
    **options: Any,
) -> "Evaluation":
    """Measure a checkpoint on a data set, as its task is measured.

    Args:
        checkpoint: a file, a run folder, the name of weights in the package, or what
            ``read_checkpoint`` gave.
        data: folder or file of the data; built-in data sets need none.
        dataset: kind of data set; None is the task's usual one.
        split: part of the data; None is the validation split.
        batch_size: images per forward pass.
        device: auto, cpu, cuda, cuda:1, mps.
        dtype: auto, float32 or bfloat16. ``auto`` is bfloat16 on CPUs where it was measured to pay
            for networks of this size; see ``spanetv2.precision.choose_precision``.
        workers: processes that read images; 0 reads in this one.
        json: file to write all figures into.
        picture: PNG to draw into: confusions, or images with what was found.
        progress: show a bar.
        **options: the task's own; see ``spanetv2 evaluate --help``.

    Returns:
        The evaluation; images that could not be read are in ``measurement.failures``.

    Raises:
        UserError: no such checkpoint or data, an option of another task, or nothing to measure.


    """
    from spanetv2.models.weights.read import Checkpoint, read_checkpoint
    from spanetv2.tasks import find_task
    from spanetv2.tasks.evaluation import EvaluationSettings

    record = checkpoint if isinstance(checkpoint, Checkpoint) else read_checkpoint(checkpoint)
    task = find_task(record.task)
    chosen, precision = _where(record, task, device, dtype)
    settings = EvaluationSettings(
        device=chosen,
        dtype=precision.dtype,
        data=None if data is None else fspath(data),
        dataset=dataset,
        split=split,
        batch_size=batch_size,
        workers=workers,
        keep_details=json is not None,
        keep_picture=picture is not None,
        progress=progress,
        options=task.checked_options("evaluate", options),
    )
    with kept.keeping():
        kept.keep([record.path])
        kept.promise(json, picture)
        done = task.evaluate(record, settings)
        done = dataclasses.replace(
            done,
            about={**done.about, "dtype": precision.name},
            notes=(*done.notes, precision.text),
        )
        if json is not None:
            done.write(json)
        if picture is not None and done.draw is not None:
            done.draw(Path(picture))
    return done


def _where(
    record: "Checkpoint", task: "Task", device: "str | torch.device", dtype: str
) -> "tuple[torch.device, Precision]":
    """The device and the precision in which weights are to be used."""
    from spanetv2.device import choose_device
    from spanetv2.precision import choose_precision

    chosen = choose_device(str(device))
    parameters = sum(weight.numel() for weight in record.state_dict.values())
    return chosen, choose_precision(dtype, chosen, parameters=parameters, supported=task.dtypes)


def predict(
    checkpoint: "str | PathLike[str] | Checkpoint",
    paths: str | PathLike[str] | Iterable[str | PathLike[str]],
    *,
    batch_size: int | None = None,
    device: "str | torch.device" = "auto",
    dtype: str = "auto",
    workers: int = 0,
    keep: bool = True,
    report: "Callable[[Answer | Failure, PredictionWriter, list[str]], None] | None" = None,
    **options: Any,
) -> "Predictions":
    """Answer for image files, as the checkpoint was trained to.

    Args:
        checkpoint: a file, a run folder, the name of weights in the package, or what
            ``read_checkpoint`` gave.
        paths: image files, folders (searched below) and patterns; one or several.
        batch_size: images per forward pass.
        device: auto, cpu, cuda, cuda:1, mps.
        dtype: auto, float32 or bfloat16. ``auto`` is bfloat16 on CPUs where it was measured to pay
            for networks of this size; see ``spanetv2.precision.choose_precision``.
        workers: processes that read images; 0 reads in this one.
        keep: keep what is said about each image in ``records``.
        report: called for each image with what is said of it, the writer, and lines to print.
        **options: the task's own, such as where to write; see ``spanetv2 predict --help``.

    Returns:
        Counts, records and files.

    Raises:
        UserError: no such checkpoint, an option of another task, or outputs that are not finite.
    """
    from spanetv2.data.images import Failure
    from spanetv2.models.weights.read import Checkpoint, read_checkpoint
    from spanetv2.tasks import find_task
    from spanetv2.tasks.prediction import Predictions, PredictionSettings, guard_inputs

    record = checkpoint if isinstance(checkpoint, Checkpoint) else read_checkpoint(checkpoint)
    task = find_task(record.task)
    chosen, precision = _where(record, task, device, dtype)
    settings = PredictionSettings(
        device=chosen,
        dtype=precision.dtype,
        batch_size=batch_size,
        workers=workers,
        options=task.checked_options("predict", options),
    )
    predictor = task.predictor(record, settings)
    images = failed = 0
    failures: list[Failure] = []
    records: list[dict[str, Any]] = []
    several = [paths] if isinstance(paths, str | PathLike) else [*paths]
    with contextlib.ExitStack() as stack:
        stack.enter_context(kept.keeping())
        kept.keep([record.path])
        guard_inputs(predictor, several)
        writer = stack.enter_context(predictor.writer())
        for prediction in predictor.predict(several):
            if isinstance(prediction, Failure):
                failed += 1
                failures += [prediction][: _FAILURES - len(failures)]
                answer, lines = prediction, writer.fail(prediction)
            else:
                images += 1
                answer = writer.write(prediction)
                lines = answer.lines
                records += [answer.record] if keep else []
            if report is not None:
                report(answer, writer, lines)
    return Predictions(
        images=images,
        failed=failed,
        failures=failures,
        records=records,
        files=writer.files,
        dtype=precision.name,
        summary=[*writer.summary(images, failed), precision.text],
    )
