"""Writing other tools' data sets in COCO's layout, and holding out a part to validate on."""

import itertools
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spanetv2.data.apart import shared_files
from spanetv2.data.splits import SPLITS
from spanetv2.errors import UserError
from spanetv2.files import UniqueNames, atomic_folder
from spanetv2.tasks.detection.data.ids import id_key
from spanetv2.tasks.detection.data.image_entries import ImageEntry
from spanetv2.tasks.detection.data.image_files import ImageFiles
from spanetv2.tasks.detection.data.judge import NO_BOX, box_fault
from spanetv2.tasks.detection.data.labelled import LabelledData, LabelledImage
from spanetv2.tasks.detection.data.labelme import is_labelme, read_labelme
from spanetv2.tasks.detection.data.layout import find_coco
from spanetv2.tasks.detection.data.record import read_record
from spanetv2.tasks.detection.data.voc import is_voc, read_voc
from spanetv2.tasks.detection.data.yolo import is_yolo, read_yolo

__all__ = ["FORMATS", "convert_data"]

_READERS: dict[str, tuple[Callable[[Path], bool], Callable[[Path], LabelledData]]] = {
    "yolo": (is_yolo, read_yolo),
    "voc": (is_voc, read_voc),
    "labelme": (is_labelme, read_labelme),
}

FORMATS = (*_READERS, "coco")
"""Formats that are read."""


class _Split(NamedTuple):
    record: dict[str, list[Any]]
    files: list[Path]
    """of the images, in the record's order"""


def convert_data(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    format: str | None = None,
    val_share: float | None = None,
    seed: int = 0,
) -> list[str]:
    """Write a data set in COCO's layout: ``annotations/instances_train.json``, ``train/``, ...

    Images are linked, or copied where that cannot be. Nothing is written where something cannot be
    read.

    Args:
        source: folder of the data set.
        out: the folder to make.
        format: yolo, voc, labelme or coco; None recognises it.
        val_share: share of the training images to hold out, where the data are not split.
        seed: of the choice.

    Returns:
        Lines that say what was written.

    Raises:
        UserError: no such data, or one that cannot be read; a folder that is there.
    """
    source, out = Path(source), Path(out)
    if not source.is_dir():
        raise UserError(f"got data folder {str(source)!r}, expected a folder")
    if out.exists():
        raise UserError(f"got output {str(out)!r}, which is there, expected a new folder")
    if val_share is not None and not 0 < val_share < 1:
        raise UserError(f"got --val-share {val_share}, expected a share between 0 and 1")
    if format is not None and format not in FORMATS:
        raise UserError(f"got --format {format!r}, expected one of {', '.join(FORMATS)}")
    if format is None:
        format = next((name for name, (known, _) in _READERS.items() if known(source)), "coco")
    remarks: list[str] = []
    if format == "coco":
        splits = _coco_splits(source)
    else:
        data = _READERS[format][1](source)
        if not any(data.splits.values()):
            raise UserError(f"{source}: no image with annotations of format {format}")
        splits = {name or "train": _split(images, data) for name, images in data.splits.items()}
        remarks = data.remark_lines()
    _refuse_shared(splits)
    if val_share is not None:
        splits = _hold_out(splits, val_share, seed)
    _write(splits, out)
    lines = [_line(name, split) for name, split in splits.items()]
    lines += remarks
    if "val" not in splits:
        lines.append(
            "not split: hold out a part with --val-share 0.2, or train with val_split null"
        )
    return [*lines, f"next: spanetv2 check-data detection {out}"]


def _coco_splits(source: Path) -> dict[str, _Split]:
    splits = {}
    for name in SPLITS:
        try:
            annotations, folder = find_coco(source, name)
        except UserError:
            if name == "train":
                raise
            continue
        record = read_record(annotations)
        files = ImageFiles(folder)
        found = []
        for image in record["images"]:
            if not isinstance(image, dict) or not isinstance(image.get("file_name"), str):
                raise UserError(
                    f"{annotations}: an image without file_name; "
                    f"spanetv2 check-data detection {source} names all problems"
                )
            file = files.find(image["file_name"])
            if file.fault:
                raise UserError(f"{file.path}: {file.fault} (named in {annotations})")
            found.append(Path(file.path))
        splits[name] = _Split(record, found)
    return splits


def _refuse_shared(splits: dict[str, _Split]) -> None:
    for one, other in itertools.combinations(splits, 2):
        first, second = ([str(path) for path in splits[name].files] for name in (one, other))
        if shared := shared_files(first, second):
            raise UserError(
                f"got {len(shared)} of {len(second)} images of {other} that are images of {one}, "
                f"too (first {shared[0]}), expected others; take them out of one"
            )


def _split(images: list[LabelledImage], data: LabelledData) -> _Split:
    ids = {name: number for number, name in enumerate(data.classes, start=1)}
    record: dict[str, list[Any]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
    }
    for own, image in enumerate(images, start=1):
        size = {"width": image.width, "height": image.height}
        record["images"].append({"id": own, "file_name": image.path.name, **size})
        entry = ImageEntry(own, image.path.name, str(image.path), image.width, image.height)
        for one in image.objects:
            if reason := box_fault(one.box, entry):  # which training would leave out, too
                data.remark(f"objects left out: {NO_BOX}", f"{image.path}: {one.name}, {reason}")
                continue
            record["annotations"].append(
                {
                    "id": len(record["annotations"]) + 1,
                    "image_id": own,
                    "category_id": ids[one.name],
                    "bbox": [round(value, 3) for value in one.box],
                    "area": round(_area(one.polygons) or one.box[2] * one.box[3], 3),
                    "iscrowd": int(one.crowd),
                    "segmentation": [[round(v, 3) for v in polygon] for polygon in one.polygons],
                }
            )
    return _Split(record, [image.path for image in images])


def _area(polygons: Sequence[list[float]]) -> float:
    """Of polygons, by the shoelace formula."""
    total = 0.0
    for polygon in polygons:
        x, y = np.array(polygon[0::2]), np.array(polygon[1::2])
        total += abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    return total


def _hold_out(splits: dict[str, _Split], share: float, seed: int) -> dict[str, _Split]:
    if "val" in splits or "train" not in splits:
        raise UserError(f"got --val-share, but the data are split ({', '.join(splits)})")
    record, files = splits["train"]
    count = round(len(files) * share)
    if not 0 < count < len(files):
        raise UserError(
            f"got --val-share {share} of {len(files)} images, which leaves one part empty"
        )
    held = set(np.random.default_rng(seed).permutation(len(files))[:count].tolist())
    parts = {"train": [i for i in range(len(files)) if i not in held], "val": sorted(held)}
    made = {}
    for name, places in parts.items():
        images = [record["images"][i] for i in places]
        ids = {id_key(image.get("id")) for image in images}
        own = [a for a in record["annotations"] if id_key(a.get("image_id")) in ids]
        made[name] = _Split(
            {**record, "images": images, "annotations": own}, [files[i] for i in places]
        )
    return {**splits, **made}


def _write(splits: dict[str, _Split], out: Path) -> None:
    with atomic_folder(out) as place:
        (place / "annotations").mkdir()
        for name, (record, files) in splits.items():
            (place / name).mkdir()
            unique = UniqueNames()
            images = []
            for image, path in zip(record["images"], files, strict=True):
                stem = unique.name(path.name)
                target = place / name / f"{stem}{path.suffix}"
                _link(path, target)
                images.append({**image, "file_name": target.name})
            file = place / "annotations" / f"instances_{name}.json"
            file.write_text(json.dumps({**record, "images": images}), encoding="utf-8")


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path.resolve(), target)
    except OSError:
        shutil.copy2(path, target)


def _line(name: str, split: _Split) -> str:
    categories = {id_key(c.get("id")): str(c.get("name")) for c in split.record["categories"]}
    counts = Counter(
        categories.get(id_key(a.get("category_id")), "?") for a in split.record["annotations"]
    )
    listed = ", ".join(f"{known} {count:,}" for known, count in counts.most_common(5))
    more = ", ..." if len(counts) > 5 else ""
    return f"{name}: {len(split.files):,} images, {counts.total():,} objects" + (
        f" ({listed}{more})" if counts else ""
    )
