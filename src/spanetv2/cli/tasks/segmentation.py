"""``spanetv2 predict`` and ``spanetv2 evaluate`` with a segmentation model."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from spanetv2.errors import UserError

if TYPE_CHECKING:
    from spanetv2.models.weights.read import Checkpoint
    from spanetv2.tasks.segmentation.data.classes import Colour
    from spanetv2.tasks.segmentation.evaluate import EvaluationResult
    from spanetv2.tasks.segmentation.inference import Inference
    from spanetv2.tasks.segmentation.predict import Written

__all__ = ["evaluate", "predict"]

_ROWS = 160
_SHEET = 6
_SHARES = 4


def predict(
    checkpoint: "Checkpoint",
    paths: list[str],
    *,
    out: Path,
    window: int | None = None,
    stride: int | None = None,
    batch_size: int = 1,
    device: str = "auto",
    workers: int = 0,
) -> None:
    """Write label images and overlays into a folder, with ``predictions.jsonl`` about them.

    Prints path and the largest classes. A given window slides over the image at its own size. An
    image that cannot be read is reported on standard error and the rest goes on; the exit status
    is then 1.
    """
    from tqdm import tqdm

    from spanetv2.cli.predict import printable
    from spanetv2.data.images import Failure
    from spanetv2.device import choose_device
    from spanetv2.files import json_rows
    from spanetv2.tasks.segmentation import predict as task
    from spanetv2.tasks.segmentation.data.transforms import Preprocessing
    from spanetv2.tasks.segmentation.weights import load_segmenter

    chosen = choose_device(device)
    inference = _inference(checkpoint, window=window, stride=stride)
    preprocessing = Preprocessing.from_dict(checkpoint.preprocessing)
    if window is not None:
        preprocessing = dataclasses.replace(preprocessing, size=None)
    model, record = load_segmenter(checkpoint, device=chosen)
    classes = record.classes or []
    writer = task.FolderWriter(out, classes=classes, palette=_palette(record))
    entries = task.predict(
        model,
        paths,
        preprocessing=preprocessing,
        inference=inference,
        batch_size=batch_size,
        device=chosen,
        workers=workers,
    )
    read = failed = 0
    with (
        json_rows(out / "predictions.jsonl", lines=True) as write,
        tqdm(unit="image", delay=1) as bar,
    ):
        for entry in entries:
            bar.update()
            if isinstance(entry, Failure):
                failed += 1
                message = f"error: {printable(entry.path)}: {printable(entry.reason)}"
                tqdm.write(message, file=sys.stderr)
                continue
            read += 1
            written = writer.write(entry)
            write(_facts(written, out))
            largest = list(written.shares.items())[:_SHARES]
            shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in largest)
            tqdm.write(f"{printable(entry.path)}\t{printable(shares)}", file=sys.stdout)
    print(
        f"{read} images segmented; labels, overlays and predictions.jsonl in {out}", file=sys.stderr
    )
    if failed:
        print(f"{failed} problems", file=sys.stderr)
        raise typer.Exit(1)


def evaluate(
    checkpoint: "Checkpoint",
    *,
    data: str | None,
    dataset: str | None = None,
    split: str | None = None,
    json_out: Path | None = None,
    picture: Path | None = None,
    window: int | None = None,
    stride: int | None = None,
    scales: list[float] | None = None,
    flip: bool | None = None,
    batch_size: int = 1,
    device: str = "auto",
    workers: int = 0,
) -> None:
    """Measure mIoU, IoU per class and pixel accuracy.

    The data's classes are matched with the model's by name. Windows, scales and mirror images are
    the checkpoint's unless they are given.
    """
    from spanetv2.data.loader import eval_batches
    from spanetv2.device import choose_device
    from spanetv2.environment import describe_device
    from spanetv2.files import write_json
    from spanetv2.tasks.segmentation import evaluate as task
    from spanetv2.tasks.segmentation.data.classes import match_classes
    from spanetv2.tasks.segmentation.data.folder import DATASETS, DatasetSpec, open_dataset
    from spanetv2.tasks.segmentation.data.transforms import (
        EvalTransform,
        Preprocessing,
        collate_views,
    )
    from spanetv2.tasks.segmentation.weights import load_segmenter

    chosen = choose_device(device)
    inference = _inference(checkpoint, window=window, stride=stride, scales=scales, flip=flip)
    preprocessing = Preprocessing.from_dict(checkpoint.preprocessing)
    known = str(checkpoint.extra.get("dataset") or "ade20k")
    name = dataset or (known if known in DATASETS else "ade20k")
    spec = DatasetSpec(name=name, root=data, split=split)  # pyright: ignore[reportArgumentType]
    source = open_dataset(spec, EvalTransform(preprocessing, inference.scales))
    model, record = load_segmenter(checkpoint, device=chosen)
    classes = record.classes or []
    mapping = match_classes(source.classes, classes)
    loader = eval_batches(
        source,
        batch_size=batch_size,
        collate=collate_views,
        workers=workers,
        on_error="skip",
        pin_memory=chosen.type == "cuda",
    )
    result = task.evaluate(
        model,
        loader,
        classes=classes,
        preprocessing=preprocessing,
        inference=inference,
        mapping=mapping,
        device=chosen,
        progress=True,
        examples=0 if picture is None else _SHEET,
    )
    for failure in result.failures:
        print(f"error: {failure.path}: {failure.reason}", file=sys.stderr)
    _print(result)
    if json_out is not None:
        about = {
            "checkpoint": str(record.path),
            "model": record.model_name,
            "head": record.extra.get("head"),
            "dataset": name,
            "data": data,
            "split": split,
            "preprocessing": preprocessing.to_dict(),
            "inference": inference.to_dict(),
            **describe_device(str(chosen)),
        }
        write_json(json_out, {**about, **result.to_json()})
    if picture is not None:
        _draw(result, _palette(record), picture)
    if result.failed:
        print(
            f"{result.images} images evaluated, {result.failed} could not be read", file=sys.stderr
        )
        raise typer.Exit(1)


def _inference(
    checkpoint: "Checkpoint",
    *,
    window: int | None = None,
    stride: int | None = None,
    scales: list[float] | None = None,
    flip: bool | None = None,
) -> "Inference":
    """The checkpoint's, with what was given in its place."""
    from spanetv2.tasks.segmentation.inference import Inference

    recorded = checkpoint.extra.get("inference") or {}
    try:
        inference = Inference(**recorded)
    except TypeError as error:
        raise UserError(f"{checkpoint.path}: {error}; a newer version may have made it") from None
    changes: dict[str, Any] = {}
    if window is not None:
        changes |= {"window": window, "stride": stride}
    elif stride is not None:
        changes["stride"] = stride
    if scales:
        changes["scales"] = tuple(scales)
    if flip is not None:
        changes["flip"] = flip
    return dataclasses.replace(inference, **changes)


def _palette(record: "Checkpoint") -> "list[Colour]":
    from spanetv2.tasks.segmentation.data.classes import distinct_colours

    recorded = record.extra.get("palette")
    if recorded is None:
        return distinct_colours(len(record.classes or []))
    return [(int(r), int(g), int(b)) for r, g, b in recorded]


def _facts(written: "Written", out: Path) -> dict[str, Any]:
    return {
        "path": written.path,
        "labels": str(written.labels.relative_to(out)),
        "overlay": str(written.overlay.relative_to(out)),
        "classes": {name: round(share, 6) for name, share in written.shares.items()},
    }


def _print(result: "EvaluationResult") -> None:
    width = min(32, max(len("class"), *(len(name) for name in result.classes)))
    print(f"{'class':{width}}     IoU  recall  precision      pixels")
    rows = list(zip(result.classes, result.per_class, strict=True))
    shown = [(name, row) for name, row in rows if row.pixels or row.predicted]
    for name, row in shown[:_ROWS]:
        cells = "  ".join(map(_percent, (row.iou, row.accuracy)))
        print(f"{name[:width]:{width}}  {cells}     {_percent(row.precision)}  {row.pixels:10}")
    if len(shown) > _ROWS:
        print(f"... and {len(shown) - _ROWS} more classes (all in --json)")
    missing = len(rows) - sum(row.pixels > 0 for _, row in rows)
    note = f" ({missing} of the model's classes do not occur)" if missing else ""
    rate = result.images / max(result.seconds, 1e-9)
    print(
        f"\n{result.images} images{note}\n"
        f"mIoU {100 * result.miou:.2f} %   pixel accuracy {100 * result.pixel_accuracy:.2f} %   "
        f"mean accuracy {100 * result.mean_accuracy:.2f} %   {rate:.1f} images/s"
    )


def _percent(value: float | None) -> str:
    return "     -" if value is None else f"{100 * value:6.2f}"


def _draw(result: "EvaluationResult", palette: "list[Colour]", out: Path) -> None:
    import numpy as np
    from PIL import Image

    from spanetv2.tasks.segmentation.picture import sheet

    rows = []
    for example in result.examples:
        pixels = np.ascontiguousarray(example.image.permute(1, 2, 0).cpu().numpy())
        image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        rows.append((image, example.truth.numpy(), example.predicted.numpy()))
    sheet(rows, result.classes, palette, out)
