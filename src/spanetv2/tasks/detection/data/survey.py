"""Going through an annotation file: what training, evaluation and check-data all know of it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from spanetv2.data.classes import KEEP_CLASSES
from spanetv2.data.header import shows_progress
from spanetv2.tasks.detection.data.corners import look_like_corners
from spanetv2.tasks.detection.data.counts import Counts
from spanetv2.tasks.detection.data.ids import Key, OwnId, id_key
from spanetv2.tasks.detection.data.image_entries import ImageEntry, Images, read_images
from spanetv2.tasks.detection.data.judge import Judged, judge
from spanetv2.tasks.detection.data.notes import notes_of
from spanetv2.tasks.detection.data.numbers import shown
from spanetv2.tasks.detection.data.reading import Reading
from spanetv2.tasks.detection.data.record import (
    Categories,
    Problem,
    entry_key,
    read_record,
    references,
)

__all__ = ["SMALLEST", "Survey", "survey_coco"]

SMALLEST = 32
"""Images with a shorter side of fewer pixels are left out of training."""

_SMALL = f"images with a side under {SMALLEST} pixels"
_EMPTY = "images without a box"


@dataclass(kw_only=True)
class Survey:
    """What an annotation file holds, and what becomes of it.

    Args:
        record: the file.
        reading: what the user says about the data.
        classes: names in label order.
        category_ids: for each class the id of its category in this file, None if it has none.
        images: all images.
        objects: what lies on each of them.
        wanted: keys of the images that are read: in training those with something to train on.
        counts: how many of everything.
        problems: all that is wrong.
        notes: what should be known about the whole.
    """

    record: str
    reading: Reading
    classes: list[str]
    category_ids: list[OwnId | None]
    images: Images
    objects: dict[Key, list[Judged]]
    wanted: list[Key]
    counts: Counts
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def survey_coco(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    training: bool,
    classes: Sequence[str] | None = None,
    reading: Reading | None = None,
) -> Survey:
    """Read an annotation file and the headers of its images, and decide about everything in it.

    Args:
        annotations: the JSON file.
        images: the folder its file names start from.
        training: whether it is to be trained on, which goes without some of it.
        classes: class names in label order; by default the file's.
        reading: what the user says about the data.

    Raises:
        UserError: it is no annotation file.
    """
    reading = reading or Reading()
    name = str(annotations)
    record = read_record(annotations)
    found = read_images(record["images"], folder=images, record=name, reading=reading)
    used = set(references(record["annotations"], "category_id"))
    categories = Categories(record["categories"], used)
    known = list(classes) if classes is not None else categories.names()
    by_name = {category.name: category.own_id for category in categories.by_key.values()}
    survey = Survey(
        record=name,
        reading=reading,
        classes=known,
        category_ids=[by_name.get(one) for one in known],
        images=found,
        objects={key: [] for key in found.entries},
        wanted=list(found.entries),
        counts=Counts(classes=known, training=training, images=len(found.entries)),
    )
    problems = survey.problems
    problems += [p for p in found.problems if p.kind != "image files"]
    problems += [Problem(name, None, f, "stops", "categories") for f in categories.faults]
    pairs = list(_sound(record["annotations"], survey))
    _judge_all(pairs, survey, categories, reading)
    problems += [p for p in found.problems if p.kind == "image files"]
    _count(survey)
    if training:
        _choose(survey, record)
    survey.notes += notes_of(survey, categories.placeholders if classes is None else [])
    return survey


def _sound(
    annotations: Sequence[Any], survey: Survey
) -> Iterator[tuple[Mapping[str, Any], Key, ImageEntry]]:
    """Annotations of known images."""
    seen: dict[Key, None] = {}
    for place, annotation in enumerate(annotations):
        key, fault = entry_key(annotation, seen, "annotation")
        if key is None:
            reason = f"annotations[{place}]: {fault}"
            survey.problems.append(Problem(survey.record, None, reason, "stops", "annotations"))
            continue
        if fault is not None:
            reason = "an id that another annotation has too, expected each once"
            survey.problems.append(
                Problem(survey.record, annotation["id"], reason, "stops", "ids of annotations")
            )
        seen[key] = None
        image_id = annotation.get("image_id")
        image_key = id_key(image_id)
        entry = None if image_key is None else survey.images.entries.get(image_key)
        if entry is not None and image_key is not None:
            yield annotation, image_key, entry
        elif not survey.images.broken:  # which may be the one that is meant
            reason = f"image_id {shown(image_id)}, which no image has"
            kind = "image_id without an image"
            survey.problems.append(Problem(survey.record, annotation["id"], reason, "stops", kind))


def _judge_all(
    pairs: Sequence[tuple[Mapping[str, Any], Key, ImageEntry]],
    survey: Survey,
    categories: Categories,
    reading: Reading,
) -> None:
    known = dict.fromkeys(survey.classes)
    boxes = []
    quiet = False
    bar = tqdm(
        pairs,
        unit="object",
        desc="annotations",
        disable=not shows_progress(),
        delay=2,
        leave=False,
    )
    for annotation, key, image in bar:
        judged = judge(annotation, image, categories=categories, known=known, reading=reading)
        survey.objects[key].append(judged)
        if not (judged.stops or judged.crowd or image.fault):
            boxes.append((annotation, image))
    if reading.boxes == "sizes" and look_like_corners(boxes):
        quiet = True  # what is said of single boxes follows from it
        reason = (
            "the boxes look like left, top, right, bottom, expected left, top, width, height; "
            "write these, or give --data.boxes corners (in check-data --boxes corners)"
        )
        survey.problems.append(Problem(survey.record, None, reason, "stops", "boxes"))
    for key, entry in survey.images.entries.items():
        for judged in survey.objects[key]:
            for effect, kind, reason in judged.findings:
                if not quiet or effect == "stops":
                    place = f"{reason} (image {entry.name})"
                    survey.problems.append(
                        Problem(survey.record, judged.own_id, place, effect, kind)
                    )


def _count(survey: Survey) -> None:
    counts = survey.counts
    for key, entry in survey.images.entries.items():
        small = entry.fault is None and min(entry.width, entry.height) < SMALLEST
        counts.empty += not survey.objects[key]
        for judged in survey.objects[key]:
            if not judged.name or judged.stops:
                continue
            counts.objects[judged.name] += 1
            counts.crowds[judged.name] += judged.crowd
            counts.masks[judged.name] += judged.mask is not None and not judged.crowd
            if entry.fault is None:
                if judged.left_out:
                    counts.leave_out(judged.left_out, judged.name)
                elif not counts.training:
                    continue
                elif small:
                    counts.leave_out(f"in {_SMALL}", judged.name)
                else:
                    counts.used[judged.name] += 1


def _choose(survey: Survey, record: Mapping[str, list[Any]]) -> None:
    """Take the images with something to train on; stop where there are none."""
    counts, problems = survey.counts, survey.problems
    survey.wanted = []
    for key, entry in survey.images.entries.items():
        if entry.fault is not None:
            continue
        if not any(judged.makes_image for judged in survey.objects[key]):
            counts.images_left_out[_EMPTY] += 1
        elif min(entry.width, entry.height) < SMALLEST:
            counts.images_left_out[_SMALL] += 1
            reason = f"{entry.width} x {entry.height} pixels, expected sides of at least {SMALLEST}"
            problems.append(Problem(entry.path, None, reason, "left out", "small images"))
        else:
            survey.wanted.append(key)
    if any(problem.effect == "stops" for problem in problems):
        return
    if not counts.used.total():
        if not record["images"]:
            reason = "no images"
        elif not record["annotations"]:
            reason = "no annotations: nothing to train on"
        else:
            total = counts.objects.total()
            needs = f"each needs a box and at least {SMALLEST} pixels"
            reason = f"no image to train on; {needs}: of {total:,} objects {counts.left_out_text()}"
            reason += _advice(counts)
        problems.append(Problem(survey.record, None, reason, "stops", "empty"))
        return
    for name in survey.classes if survey.reading.empty_classes == "stop" else ():
        if counts.used[name]:
            continue
        if objects := counts.objects[name]:
            found = f"none of its {objects:,} objects can be trained on ({counts.reasons(name)})"
            reason = f"class {name!r}: {found}; mend them"
        else:
            reason = f"class {name!r}: no object of it; add some, take it from the categories"
        reason += f", or go on without them by {KEEP_CLASSES}"
        problems.append(Problem(survey.record, None, reason, "stops", "empty classes"))


def _advice(counts: Counts) -> str:
    if counts.crowds.total() < counts.objects.total():
        return ""
    return (
        "; all are marked as crowds (iscrowd 1), as CVAT writes masks: write iscrowd 0 where one "
        "object is meant"
    )
