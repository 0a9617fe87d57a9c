"""``spanetv2 predict`` and ``spanetv2 evaluate`` with a detector."""

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from spanetv2.errors import UserError

if TYPE_CHECKING:
    from spanetv2.models.weights.read import Checkpoint
    from spanetv2.tasks.detection.data.coco import CocoDetection
    from spanetv2.tasks.detection.evaluate import EvaluationResult

__all__ = ["evaluate", "predict"]

_SCORE = 0.5
_ROWS = 100
_SHEET = 12


# predict -----------------------------------------------------------------------------------------


def predict(
    checkpoint: "Checkpoint",
    paths: list[str],
    *,
    out: Path,
    score: float = _SCORE,
    batch_size: int = 1,
    device: str = "auto",
    workers: int = 0,
) -> None:
    """Draw what is found in images into a folder, with ``results.json`` in COCO's format.

    Prints path, class, score and box (left, top, right, bottom in pixels), separated by tabs. An
    image that cannot be read is reported on standard error and the rest goes on; the exit status
    is then 1.
    """
    from tqdm import tqdm

    from spanetv2.cli.predict import printable
    from spanetv2.data.images import Failure
    from spanetv2.device import choose_device
    from spanetv2.files import json_rows
    from spanetv2.tasks.detection import predict as task
    from spanetv2.tasks.detection.picture import draw_objects, save_picture
    from spanetv2.tasks.detection.results import coco_results
    from spanetv2.tasks.detection.weights import load_detector

    chosen = choose_device(device)
    own = checkpoint.extra.get("detector", {}).get("score_threshold", score)
    detector, record = load_detector(
        checkpoint, device=chosen, score_threshold=min(score, own, 1 - 1e-6)
    )
    names, category_ids = record.classes or [], _category_ids(record)
    entries = task.predict(
        detector, paths, score=score, batch_size=batch_size, device=chosen, workers=workers
    )
    read = failed = objects = 0
    ids, files = _Unique(), _Unique()
    with json_rows(out / "results.json") as write, tqdm(unit="image", delay=1) as bar:
        for entry in entries:
            bar.update()
            if isinstance(entry, Failure):
                failed += 1
                message = f"error: {printable(entry.path)}: {printable(entry.reason)}"
                tqdm.write(message, file=sys.stderr)
                continue
            read += 1
            found = entry.found()
            objects += len(found.labels)
            for row in coco_results(
                found, ids.number(entry.path), category_ids, file_name=entry.path
            ):
                write(row)
            for label, confidence, box in zip(
                found.labels.tolist(), found.scores.tolist(), found.boxes.tolist(), strict=True
            ):
                corners = "\t".join(f"{value:.1f}" for value in box)
                name = printable(names[label - 1])
                tqdm.write(
                    f"{printable(entry.path)}\t{name}\t{confidence:.4f}\t{corners}",
                    file=sys.stdout,
                )
            picture = draw_objects(
                entry.image,
                entry.boxes,
                entry.labels,
                names,
                scores_N=entry.scores,
                masks_N1MM=entry.masks,
            )
            save_picture(picture, out / f"{files.name(entry.path)}.png")
    print(
        f"{objects} objects in {read} images; pictures and results.json in {out}", file=sys.stderr
    )
    if failed:
        print(f"{read} images searched, {failed} problems", file=sys.stderr)
        raise typer.Exit(1)


class _Unique:
    """Names and numbers that no two images share."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._numbers: set[int] = set()

    def name(self, path: str) -> str:
        """The file's name without its ending, numbered if another has it already."""
        from spanetv2.cli.predict import printable

        stem = printable(Path(path).stem) or "image"
        name, count = stem, 1
        while name in self._names:
            count += 1
            name = f"{stem}-{count}"
        self._names.add(name)
        return name

    def number(self, path: str) -> int:
        """COCO's file names are the ids of images; others are numbered."""
        stem = Path(path).stem
        number = int(stem) if stem.isascii() and stem.isdigit() and len(stem) < 19 else 1
        while number in self._numbers:
            number += 1
        self._numbers.add(number)
        return number


def _category_ids(record: "Checkpoint") -> list[int]:
    names = record.classes or []
    known = record.extra.get("category_ids") or [None] * len(names)
    return [label if own is None else own for label, own in enumerate(known, start=1)]


# evaluate ----------------------------------------------------------------------------------------


def evaluate(
    checkpoint: "Checkpoint",
    *,
    data: str | None,
    dataset: str | None = None,
    split: str | None = None,
    json_out: Path | None = None,
    picture: Path | None = None,
    batch_size: int = 1,
    device: str = "auto",
    workers: int = 0,
) -> None:
    """Measure COCO's average precision of boxes and masks.

    ``data`` is a folder in COCO's layout, with ``split`` one of its splits, or an annotation file,
    with ``split`` the folder of its images. With ``json_out`` FILE.json the figures go there and
    the detections, in COCO's results format, to FILE.results.json.
    """
    from spanetv2.data.loader import eval_batches
    from spanetv2.device import choose_device
    from spanetv2.environment import describe_device
    from spanetv2.files import json_rows, write_json
    from spanetv2.tasks.detection import evaluate as task
    from spanetv2.tasks.detection.data.batch import collate
    from spanetv2.tasks.detection.results import coco_results
    from spanetv2.tasks.detection.weights import load_detector

    if dataset not in (None, "coco"):
        raise UserError(f"got --dataset {dataset!r}, expected coco: detectors have no other")
    chosen = choose_device(device)
    detector, record = load_detector(checkpoint, device=chosen)
    names = record.classes or []
    source = open_coco(data, split, classes=names)
    loader = eval_batches(
        source,
        batch_size=batch_size,
        collate=collate,
        workers=workers,
        on_error="skip",
        pin_memory=chosen.type == "cuda",
    )
    rows: list[list[Any]] = []
    detections: list[dict[str, Any]] = []

    def keep(image: Any, target: Any, found: Any) -> None:
        if json_out is not None:
            detections.extend(coco_results(found, int(target["image_id"]), source.category_ids))
        if picture is not None and len(rows) < _SHEET:
            rows.append(_pair(image, target, found, names))

    result = task.evaluate(
        detector, loader, classes=names, device=chosen, progress=True, on_image=keep
    )
    for failure in result.failures:
        print(f"error: {failure.path}: {failure.reason}", file=sys.stderr)
    _print(result)
    if json_out is not None:
        about = {
            "checkpoint": str(record.path),
            "model": record.model_name,
            "system": detector.options.system,
            "annotations": str(source.annotations),
            "min_size": detector.options.min_size,
            "max_size": detector.options.max_size,
            "batch_size": batch_size,
            **describe_device(str(chosen)),
        }
        write_json(json_out, {**about, **result.to_json()})
        with json_rows(json_out.with_name(f"{json_out.stem}.results.json")) as write:
            for row in detections:
                write(row)
    if picture is not None and rows:
        from spanetv2.tasks.detection.picture import save_picture, sheet

        # two pairs side by side
        halves = itertools.zip_longest(rows[::2], rows[1::2], fillvalue=[])
        save_picture(sheet([[*left, *right] for left, right in halves]), picture)
    if result.failed:
        print(
            f"{result.images} images evaluated, {result.failed} could not be read",
            file=sys.stderr,
        )
        raise typer.Exit(1)


def open_coco(data: str | None, split: str | None, *, classes: list[str]) -> "CocoDetection":
    """Open data to evaluate on, labelled by the classes of a detector.

    Raises:
        UserError: no data, or classes that the detector does not know.
    """
    from spanetv2.tasks.detection.data.coco import CocoDetection
    from spanetv2.tasks.detection.data.layout import find_coco
    from spanetv2.tasks.detection.evaluate import match_classes

    if data is None:
        raise UserError("got no data, expected --data with a folder in COCO's layout")
    if data.endswith(".json"):
        annotations, images = Path(data), Path(split) if split else Path(data).parent
    else:
        annotations, images = find_coco(data, split or "val")
    own = CocoDetection(annotations, images)
    match_classes(own.classes, classes)
    return CocoDetection(annotations, images, classes=classes)


def _pair(image: Any, target: Any, found: Any, names: list[str]) -> list[Any]:
    """An image as it is annotated, and as it is seen (objects of half the full score or more)."""
    import numpy as np
    import torch

    from spanetv2.tasks.detection.masks import decode_mask
    from spanetv2.tasks.detection.picture import draw_objects

    pixels = (image * 255).round().to(torch.uint8)
    good = found.scores >= _SCORE
    masks = None
    if found.masks is not None and bool(good.any()):
        chosen = [decode_mask(found.masks[i]) for i in torch.where(good)[0].tolist()]
        masks = torch.from_numpy(np.stack(chosen))
    return [
        draw_objects(pixels, target["boxes"], target["labels"], names, pixels_NHW=target["masks"]),
        draw_objects(
            pixels,
            found.boxes[good],
            found.labels[good],
            names,
            scores_N=found.scores[good],
            pixels_NHW=masks,
        ),
    ]


def _print(result: "EvaluationResult") -> None:
    present = [i for i, row in enumerate(result.per_class) if row.objects]
    width = min(32, max([len("class"), *(len(result.classes[i]) for i in present)]))
    print(f"{'class':{width}}  objects  box AP  mask AP")
    for i in present[:_ROWS]:
        row = result.per_class[i]
        cells = f"{row.objects:7}  {_percent(row.box_ap)}  {_percent(row.mask_ap):>7}"
        print(f"{result.classes[i][:width]:{width}}  {cells}")
    if len(present) > _ROWS:
        print(f"... and {len(present) - _ROWS} more classes (all in --json)")
    print(f"\n{'':5}    AP  AP50  AP75     S     M     L   AR1  AR10 AR100     S     M     L")
    for name, figures in (("box", result.box), ("mask", result.mask)):
        if figures is not None:
            numbers = [getattr(figures, field) for field in figures.__dataclass_fields__]
            print(f"{name:5}" + "".join(f"{_percent(number, 6)}" for number in numbers))
    print(
        f"\n{result.images} images, {result.objects} objects, {result.detections} detections, "
        f"{result.images_per_second:.1f} images/s"
    )


def _percent(value: float | None, width: int = 6) -> str:
    return f"{'-' if value is None else f'{100 * value:.1f}':>{width}}"
