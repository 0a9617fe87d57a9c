"""Looking through a COCO data set before training on it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from spanetv2.data.images import ImageError, read_image
from spanetv2.data.splits import RUN_SPLITS
from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.coco import SMALLEST
from spanetv2.tasks.detection.data.layout import find_coco
from spanetv2.tasks.detection.data.masks import mask_extent
from spanetv2.tasks.detection.data.record import Problem, box_fault, read_record, record_problems
from spanetv2.tasks.task import SplitCheck

__all__ = ["check_coco", "check_splits"]

# A mask misses its box where the two overlap less than this, and by more than so many pixels.
_OVERLAP, _APART = 0.5, 2.0
# Boxes may reach outside by this much: half-pixel conventions differ.
_OUTSIDE = 1.0


def check_coco(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    decode: bool = True,
    progress: bool = False,
) -> list[Problem]:
    """Find everything that is wrong with a COCO data set.

    Args:
        annotations: the JSON file.
        images: the folder its file names start from.
        classes: the class names that are known; by default those of the file's categories.
        decode: read every image whole, which finds files that break off; otherwise only the
            start of each, which tells its size.
        progress: show a bar on standard error.

    Returns:
        The problems; with an effect of ``stops``, ``CocoDetection`` refuses the data or an item
        of it, the others it goes on with.
    """
    name = str(annotations)
    try:
        record = read_record(annotations)
    except UserError as error:
        reason = str(error).removeprefix(f"{name}: ")
        return [Problem(name, None, reason, "stops")]
    if not Path(images).is_dir():
        return [Problem(str(images), None, "no such folder of images", "stops")]
    found = list(record_problems(record, path=annotations, classes=classes))
    entries = _sound_images(record["images"])
    refused = {problem.annotation for problem in found}
    sound = [
        annotation
        for annotation in record["annotations"]
        if isinstance(annotation, Mapping)
        and type(annotation.get("id")) is type(annotation.get("image_id")) is int
        and annotation["id"] not in refused
        and annotation["image_id"] in entries
    ]
    if not record["images"]:
        found.append(Problem(name, None, "no images", "stops"))
    elif not record["annotations"]:
        found.append(Problem(name, None, "no annotations: nothing to train on", "stops"))
    with tqdm(total=len(entries) + len(sound), unit="entry", disable=not progress) as bar:
        for entry in entries.values():
            found += _image_problems(Path(images) / entry["file_name"], entry, name, decode=decode)
            bar.update()
        for annotation in sound:
            entry = entries[annotation["image_id"]]
            for reason, effect in _object_faults(annotation, entry):
                place = f"{reason} (image {entry['file_name']})"
                found.append(Problem(name, annotation["id"], place, effect))
            bar.update()
    found += _doubled_files(entries, name)
    return found


def check_splits(
    root: Path, *, split: str | None = None, progress: bool = False
) -> Iterator[SplitCheck]:
    """Look through a data set, a split at a time.

    Args:
        root: folder of the data, as COCO's or the scenes'.
        split: the only split to look at; None is train and val.
        progress: show a bar.

    Raises:
        UserError: no such folder or split.
    """
    if not root.is_dir():
        raise UserError(f"got data folder {str(root)!r}, expected a folder")
    words = {"stops": "error", "left out": "left out", "kept": "warning"}
    for part in (split,) if split is not None else RUN_SPLITS:
        files = find_coco(root, part)
        problems = check_coco(files.annotations, files.images, progress=progress)
        errors = sum(problem.effect == "stops" for problem in problems)
        yield SplitCheck(
            report=f"{part}: {errors} errors, {len(problems) - errors} remarks",
            problems=[f"{words[problem.effect]}: {problem}" for problem in problems],
            errors=errors,
        )


def _sound_images(images: Sequence[Any]) -> dict[int, Mapping[str, Any]]:
    sound = {}
    for image in images:
        if (
            isinstance(image, Mapping)
            and all(type(image.get(key)) is int for key in ("id", "width", "height"))
            and min(image["width"], image["height"]) >= 1
            and isinstance(image.get("file_name"), str)
            and image["file_name"]
        ):
            sound.setdefault(image["id"], image)
    return sound


def _image_problems(
    path: Path, entry: Mapping[str, Any], record: str, *, decode: bool
) -> Iterator[Problem]:
    try:
        size = read_image(path).size if decode else _size(path)
    except ImageError as error:
        yield Problem(str(path), None, f"{error.reason} (image {entry['id']} of {record})", "stops")
        return
    width, height = entry["width"], entry["height"]
    # The same pixels turned are taken: the camera's note may or may not have been heeded.
    if size not in ((width, height), (height, width)):
        reason = f"{size[0]} x {size[1]} pixels, expected {width} x {height} as {record} says"
        yield Problem(str(path), None, reason, "stops")
    elif min(size) < SMALLEST:
        reason = f"{size[0]} x {size[1]} pixels, expected sides of at least {SMALLEST}"
        yield Problem(str(path), None, reason, "left out")


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as opened:
            return opened.size
    except Exception:
        return read_image(path).size  # which says what is wrong


def _object_faults(
    annotation: Mapping[str, Any], image: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    if annotation.get("iscrowd", 0):
        return
    if (reason := box_fault(annotation, image)) is not None:
        yield reason, "left out"
        return
    left, top, width, height = annotation["bbox"]
    outside = max(-left, -top, left + width - image["width"], top + height - image["height"])
    if outside > _OUTSIDE:
        yield f"box reaches {outside:g} pixels outside the image, which are cut off", "kept"
    extent = mask_extent(annotation["segmentation"], image["height"], image["width"])
    if extent is None:
        yield "mask without a pixel", "left out"
        return
    code = annotation["segmentation"]
    if isinstance(code, list) and (short := sum(len(polygon) < 6 for polygon in code)):
        yield f"{short} of {len(code)} polygons with fewer than 3 points, which add nothing", "kept"
    box = (left, top, left + width, top + height)
    overlap = _overlap(box, extent)
    if overlap <= 0:
        shown = [round(value, 2) for value in box]
        yield f"mask misses its box: it spans {list(extent)}, the box {shown}", "left out"
    elif overlap < _OVERLAP and max(abs(a - b) for a, b in zip(box, extent, strict=True)) > _APART:
        shown = [round(value, 2) for value in box]
        yield f"mask fits its box badly: it spans {list(extent)}, the box {shown}", "kept"


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Intersection over union of two boxes: left, top, right, bottom."""
    across = min(one[2], other[2]) - max(one[0], other[0])
    down = min(one[3], other[3]) - max(one[1], other[1])
    if min(across, down) <= 0:
        return 0.0
    both = across * down
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return both / (sum(areas) - both)


def _doubled_files(entries: Mapping[int, Mapping[str, Any]], record: str) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for own, entry in entries.items():
        earlier = first.setdefault(entry["file_name"], own)
        if earlier != own:
            reason = f"images {earlier} and {own} are the same file {entry['file_name']}"
            yield Problem(record, None, reason, "kept")
