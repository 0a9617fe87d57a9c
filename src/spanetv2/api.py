"""The commands as functions: ``spanetv2.train``, ``evaluate`` and ``predict``.

Importing this module costs nothing: what a function needs is imported when it is called.
"""

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spanetv2 import kept
from spanetv2.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from spanetv2.many.predict import Report
    from spanetv2.many.ranks import Ranks
    from spanetv2.many.ray_cluster import Pool
    from spanetv2.models.weights.read import Checkpoint
    from spanetv2.precision import Precision
    from spanetv2.tasks import Task
    from spanetv2.tasks.evaluation import Evaluation
    from spanetv2.tasks.prediction import Predictions
    from spanetv2.tasks.shard import Shard
    from spanetv2.training.configuration import ResolvedRun
    from spanetv2.training.run import RunResult
    from spanetv2.training.sources import Source

__all__ = ["evaluate", "merge", "predict", "resolve_training", "train"]


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
    out: str | PathLike[str] | None = None,
    shard: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    ranks: "Ranks | None" = None,
    tell: Callable[[int], None] = lambda images: None,
    **options: Any,
) -> "Evaluation | Any":  # None with a shard alone, which no caller need ask about
    """Measure a checkpoint on a data set, as its task is measured.

    Args:
        checkpoint: a file, a run folder, the name of weights in the package, or what
            ``read_checkpoint`` gave.
        data: folder or file of the data; built-in data sets need none.
        dataset: kind of data set; None is the task's usual one.
        split: part of the data; None is the validation split.
        batch_size: images per forward pass.
        device: auto, cpu, cuda, cuda:1, mps; several with commas between compute side by side, a
            process each.
        dtype: auto, float32 or bfloat16. ``auto`` is bfloat16 on CPUs where it was measured to pay
            for networks of this size; see ``spanetv2.precision.choose_precision``.
        workers: processes that read images; 0 reads in this one.
        json: file to write all figures into.
        picture: PNG to draw into: confusions, or images with what was found.
        progress: show a bar.
        out: folder for what was measured batch by batch, and the figures.
        shard: "3/16" measures the third of 16 parts alone, into ``out``; ``merge`` joins them.
        resume: leave out what ``out`` holds already.
        overwrite: replace the results in ``out``.
        ranks: this process among several that were called alike, each of which takes a part; the
            first gives the result. See ``spanetv2.many.ranks.ranks_of``.
        tell: told the number of images of each batch, where there is a folder or several devices.
        **options: the task's own; see ``spanetv2 evaluate --help``.

    Returns:
        The evaluation; images that could not be read are in ``measurement.failures``. None for a
        shard.

    Raises:
        UserError: no such checkpoint or data, an option of another task, nothing to measure, or a
            folder with results of another run.
    """
    from spanetv2.many.evaluate import Request, evaluate_parts, evaluate_whole
    from spanetv2.many.spread import devices_of
    from spanetv2.models.weights.read import Checkpoint, read_checkpoint
    from spanetv2.tasks import find_task
    from spanetv2.tasks.evaluation import EvaluationSettings

    record = checkpoint if isinstance(checkpoint, Checkpoint) else read_checkpoint(checkpoint)
    task = find_task(record.task)
    devices = devices_of(str(device), ranks)
    chosen, precision = _where(record, task, devices[0], dtype)
    settings = EvaluationSettings(
        device=chosen,
        dtype=precision.dtype,
        data=None if data is None else fspath(data),
        dataset=dataset,
        split=split,
        batch_size=batch_size,
        workers=workers,
        keep_details=json is not None or out is not None,
        keep_picture=picture is not None,
        progress=progress,
        options=task.checked_options("evaluate", options),
    )
    request = Request(
        record=record,
        task=task,
        settings=settings,
        precision=precision,
        json=None if json is None else Path(json),
        picture=None if picture is None else Path(picture),
    )
    part = _part(out, shard, ranks, resume=resume, overwrite=overwrite)
    with kept.keeping():
        kept.keep([record.path])
        kept.promise(json, picture)
        if out is None and len(devices) == 1 and ranks is None:
            return evaluate_whole(request)
        with _folder(out, ranks) as folder:
            return evaluate_parts(
                request,
                folder,
                part,
                devices,
                evaluate,
                resume=resume,
                overwrite=overwrite,
                ranks=ranks,
                figures=out is not None,
                tell=tell,
            )


@contextlib.contextmanager
def _pool(engine: str, devices: Sequence[str], ranks: "Ranks | None") -> "Iterator[Pool | None]":
    """The processes of a Ray cluster, where that is to compute.

    Raises:
        UserError: another engine, or no Ray, or no such devices.
    """
    if engine not in ("local", "ray"):
        raise ConfigError(f"got engine {engine!r}, expected local or ray")
    if engine == "local":
        yield None
        return
    if ranks is not None:
        raise ConfigError("got engine ray under torchrun, expected one of them")
    from spanetv2.many.ray_cluster import connected

    with connected(devices) as pool:
        yield pool


def _where(
    record: "Checkpoint",
    task: "Task",
    device: "str | torch.device",
    dtype: str,
    *,
    here: bool = True,
) -> "tuple[torch.device, Precision]":
    """The device and the precision in which weights are to be used; not ``here``, the precision
    there and the CPU, on which this process prepares."""
    import torch

    from spanetv2.device import choose_device
    from spanetv2.precision import choose_precision

    chosen = choose_device(str(device)) if here else torch.device(device)
    parameters = sum(weight.numel() for weight in record.state_dict.values())
    precision = choose_precision(dtype, chosen, parameters=parameters, supported=task.dtypes)
    return chosen if here else torch.device("cpu"), precision


def _part(
    out: str | PathLike[str] | None,
    shard: str | None,
    ranks: "Ranks | None",
    *,
    resume: bool,
    overwrite: bool,
) -> "Shard | None":
    """The part that is asked for; None for all.

    Raises:
        UserError: there is no folder for it, or an impossible combination.
    """
    from spanetv2.tasks.shard import Shard

    if resume and overwrite:
        raise ConfigError("got resume and overwrite, expected one of them")
    if ranks is not None and shard is not None:
        raise ConfigError(
            f"got shard {shard} under torchrun, whose {ranks.world} processes take a part each; "
            "expected one of them"
        )
    words = {"--shard": shard is not None, "--resume": resume, "--overwrite": overwrite}
    if out is None and (given := [word for word, there in words.items() if there]):
        raise ConfigError(
            f"got {' and '.join(given)} without --out, expected the folder where rows are kept"
        )
    return None if shard is None else Shard.parse(shard)


@contextlib.contextmanager
def _folder(out: str | PathLike[str] | None, ranks: "Ranks | None") -> Iterator[Path]:
    """The folder of the rows; one that goes away where none is given."""
    if ranks is not None:
        with ranks.together(out) as folder:
            yield folder
        return
    if out is not None:
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="spanetv2-") as folder:
        yield Path(folder)


def predict(
    checkpoint: "str | PathLike[str] | Checkpoint",
    paths: str | PathLike[str] | Iterable[str | PathLike[str]],
    *,
    batch_size: int | None = None,
    device: "str | torch.device" = "auto",
    dtype: str = "auto",
    workers: int = 0,
    keep: bool = True,
    report: "Report | None" = None,
    shard: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    ranks: "Ranks | None" = None,
    tell: Callable[[int], None] = lambda images: None,
    engine: str = "local",
    **options: Any,
) -> "Predictions":
    """Answer for image files, as the checkpoint was trained to.

    Args:
        checkpoint: a file, a run folder, the name of weights in the package, or what
            ``read_checkpoint`` gave.
        paths: image files, folders (searched below) and patterns; one or several.
        batch_size: images per forward pass.
        device: auto, cpu, cuda, cuda:1, mps; several with commas between compute side by side, a
            process each.
        dtype: auto, float32 or bfloat16. ``auto`` is bfloat16 on CPUs where it was measured to pay
            for networks of this size; see ``spanetv2.precision.choose_precision``.
        workers: processes that read images; 0 reads in this one.
        keep: keep what is said about each image in ``records``.
        report: called for each image with what is said of it, the writer, and lines to print.
        shard: "3/16" answers for the third of 16 parts alone, into ``out``; ``merge`` joins them.
        resume: leave out images that ``out`` holds answers for.
        overwrite: replace the results in ``out``.
        ranks: this process among several that were called alike, each of which takes a part; the
            first gives the result. See ``spanetv2.many.ranks.ranks_of``.
        tell: told the number of images of each batch, where there is a folder or several devices.
        engine: local, or ray: the same on a Ray cluster, whose devices ``device`` then means; paths
            may be URLs of an object store, such as ``s3://bucket/folder``.
        **options: the task's own, such as where to write; see ``spanetv2 predict --help``.

    Returns:
        Counts, records and files; with ``shard`` or ``resume``, of what was answered in this call.

    Raises:
        UserError: no such checkpoint, an option of another task, outputs that are not finite, or a
            folder with results of another run.
    """
    from spanetv2.many.predict import Request, predict_parts, predict_whole
    from spanetv2.many.spread import devices_of
    from spanetv2.models.weights.read import Checkpoint, read_checkpoint
    from spanetv2.tasks import find_task
    from spanetv2.tasks.prediction import PredictionSettings

    record = checkpoint if isinstance(checkpoint, Checkpoint) else read_checkpoint(checkpoint)
    task = find_task(record.task)
    devices = devices_of(str(device), ranks)
    checked = task.checked_options("predict", options)
    out = checked.get("out", task.default_folder)
    part = _part(out, shard, ranks, resume=resume, overwrite=overwrite)
    several = [paths] if isinstance(paths, str | PathLike) else [*paths]
    with kept.keeping(), _pool(engine, devices, ranks) as pool:
        kind = devices[0] if pool is None else pool.kind
        chosen, precision = _where(record, task, kind, dtype, here=pool is None)
        settings = PredictionSettings(
            device=chosen,
            dtype=precision.dtype,
            batch_size=batch_size,
            workers=workers,
            options=checked,
        )
        request = Request(
            record=record,
            task=task,
            settings=settings,
            precision=precision,
            paths=[fspath(path) for path in several],
            report=report,
            keep=keep,
            pool=pool,
        )
        kept.keep([record.path])
        if out is None and len(devices) == 1 and ranks is None and pool is None:
            return predict_whole(request)
        with _folder(out, ranks) as folder:
            return predict_parts(
                request,
                folder,
                part,
                devices,
                predict,
                resume=resume,
                overwrite=overwrite,
                ranks=ranks,
                tell=tell,
            )


def merge(
    folders: str | PathLike[str] | Iterable[str | PathLike[str]],
    *,
    out: str | PathLike[str] | None = None,
    json: str | PathLike[str] | None = None,
    picture: str | PathLike[str] | None = None,
    keep: bool = True,
    report: "Report | None" = None,
) -> "Predictions | Evaluation":
    """Put the shards of one run of ``predict`` or ``evaluate`` together.

    Args:
        folders: where the shards were written; one or several.
        out: folder of the result; None is the first of ``folders``.
        json: file for the figures of an evaluation, or a classifier's answers, beside ``out``.
        picture: PNG to draw into, where the task can from rows alone.
        keep: keep what is said about each image in ``records``.
        report: called for each image with what is said of it, the writer, and lines to print.

    Returns:
        What the run in one piece gives.

    Raises:
        UserError: shards are missing, not finished, damaged, or of different runs.
    """
    from spanetv2.many.merge import merge_folders

    several = [folders] if isinstance(folders, str | PathLike) else [*folders]
    with kept.keeping():
        return merge_folders(
            [Path(folder) for folder in several],
            out=None if out is None else Path(out),
            json=None if json is None else Path(json),
            picture=None if picture is None else Path(picture),
            keep=keep,
            report=report,
        )
