"""``spanetv2.evaluate`` and ``predict``, and ``merge`` for their shards."""

from collections.abc import Callable, Iterable
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spanetv2 import kept
from spanetv2.api.parts import (
    batch_of,
    check_places,
    computing,
    part_of,
    paths_of,
    pool_of,
    rows_folder,
    told_plainly,
)
from spanetv2.arguments import check_count
from spanetv2.errors import UserError
from spanetv2.processes import MOST_WORKERS

if TYPE_CHECKING:
    import torch

    from spanetv2.many.predict import Report
    from spanetv2.many.ranks import Ranks
    from spanetv2.models.weights.read import Checkpoint
    from spanetv2.tasks.evaluation import Evaluation
    from spanetv2.tasks.prediction import Predictions

__all__ = ["evaluate", "merge", "predict"]


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
        batch_size: images per forward pass; None is the task's usual number.
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

    check_count("workers", workers, least=0, most=MOST_WORKERS)
    check_places(data=data, json=json, picture=picture, out=out)
    for name, value in (("dataset", dataset), ("split", split)):
        if value is not None and not isinstance(value, str):
            raise UserError(f"got {name} {value!r}, expected a name")
    record = checkpoint if isinstance(checkpoint, Checkpoint) else read_checkpoint(checkpoint)
    task = find_task(record.task)
    devices = devices_of(str(device), ranks)
    chosen, precision = computing(record, task, devices[0], dtype)
    settings = EvaluationSettings(
        device=chosen,
        dtype=precision.dtype,
        data=None if data is None else fspath(data),
        dataset=dataset,
        split=split,
        batch_size=batch_of(batch_size, task.evaluate_batch_size),
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
    part = part_of(out, shard, ranks, resume=resume, overwrite=overwrite)
    with told_plainly(), kept.keeping():
        kept.keep([record.path])
        kept.promise(json, picture)
        if out is None and len(devices) == 1 and ranks is None:
            return evaluate_whole(request)
        with rows_folder(out, ranks) as folder:
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
        batch_size: images per forward pass; None is the task's usual number.
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
    from spanetv2.many.urls import is_url
    from spanetv2.models.weights.read import Checkpoint, read_checkpoint
    from spanetv2.tasks import find_task
    from spanetv2.tasks.prediction import PredictionSettings

    check_count("workers", workers, least=0, most=MOST_WORKERS)
    several = paths_of("paths", paths)
    record = checkpoint if isinstance(checkpoint, Checkpoint) else read_checkpoint(checkpoint)
    task = find_task(record.task)
    devices = devices_of(str(device), ranks)
    checked = task.checked_options("predict", options)
    out = checked.get("out", task.default_folder)
    part = part_of(out, shard, ranks, resume=resume, overwrite=overwrite)
    if engine != "ray" and (urls := [path for path in several if is_url(path)]):
        raise UserError(
            f"got {urls[0]}, expected files, folders or patterns; URLs of object stores are read "
            "with --engine ray"
        )
    with told_plainly(), kept.keeping(), pool_of(engine, devices, ranks) as pool:
        kind = devices[0] if pool is None else pool.kind
        chosen, precision = computing(record, task, kind, dtype, here=pool is None)
        settings = PredictionSettings(
            device=chosen,
            dtype=precision.dtype,
            batch_size=batch_of(batch_size, task.predict_batch_size),
            workers=workers,
            options=checked,
        )
        request = Request(
            record=record,
            task=task,
            settings=settings,
            precision=precision,
            paths=several,
            report=report,
            keep=keep,
            pool=pool,
        )
        kept.keep([record.path])
        if out is None and len(devices) == 1 and ranks is None and pool is None:
            return predict_whole(request)
        with rows_folder(out, ranks) as folder:
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

    several = paths_of("folders", folders)
    check_places(out=out, json=json, picture=picture)
    with told_plainly(), kept.keeping():
        return merge_folders(
            [Path(folder) for folder in several],
            out=None if out is None else Path(out),
            json=None if json is None else Path(json),
            picture=None if picture is None else Path(picture),
            keep=keep,
            report=report,
        )
