"""Looking through a COCO data set before training on it."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from spanetv2.data.apart import TAKE_OUT, shared_files, shared_text
from spanetv2.data.images import ImageError, read_image
from spanetv2.data.splits import RUN_SPLITS, canonical_split
from spanetv2.data.white import find_white
from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.ids import Key
from spanetv2.tasks.detection.data.image_entries import ImageEntry
from spanetv2.tasks.detection.data.layout import CocoFiles, find_coco
from spanetv2.tasks.detection.data.reading import Reading
from spanetv2.tasks.detection.data.record import Problem
from spanetv2.tasks.detection.data.survey import Survey, survey_coco
from spanetv2.tasks.detection.data.turned import draw_turned
from spanetv2.tasks.task import CHECK_PICTURES, SplitCheck

__all__ = ["check_coco", "check_splits", "survey_whole"]

_ALIKE = 3
"""Problems of one kind that are listed one by one; more become one line."""

_WORDS = {"stops": "error", "left out": "left out", "kept": "warning"}


def check_coco(
    annotations: str | os.PathLike[str],
    images: str | os.PathLike[str],
    *,
    training: bool = True,
    classes: Sequence[str] | None = None,
    reading: Reading | None = None,
    decode: bool = True,
    progress: bool = False,
) -> list[Problem]:
    """Find everything that is wrong with a COCO data set.

    Args:
        annotations: the JSON file.
        images: the folder its file names start from.
        training: whether it is to be trained on.
        classes: the class names that are known; by default those of the file's categories.
        reading: what the user says about the data.
        decode: read every image whole, which finds files that break off; otherwise only the
            header of each.
        progress: show a bar on standard error.

    Returns:
        The problems; with an effect of ``stops``, ``CocoDetection`` refuses the data or an item
        of it, the others it goes on with.
    """
    survey = survey_whole(
        CocoFiles(Path(annotations), Path(images)),
        training=training,
        classes=classes,
        reading=reading,
        decode=decode,
        progress=progress,
    )
    return survey if isinstance(survey, list) else survey.problems


def survey_whole(
    files: CocoFiles,
    *,
    training: bool,
    classes: Sequence[str] | None,
    reading: Reading | None,
    decode: bool,
    progress: bool,
) -> Survey | list[Problem]:
    """What training knows of a data set, and in it the problems that only pixels show.

    Returns:
        The survey; only problems where there is nothing to go through.
    """
    name = str(files.annotations)
    try:
        survey = survey_coco(
            files.annotations, files.images, training=training, classes=classes, reading=reading
        )
    except UserError as error:
        return [Problem(name, None, str(error).removeprefix(f"{name}: "), "stops", "files")]
    if not files.images.is_dir():
        return [Problem(str(files.images), None, "no such folder of images", "stops", "files")]
    entries = survey.images.entries
    if not entries and not training:
        survey.problems.append(Problem(name, None, "no images", "stops", "empty"))
    if survey.images.deep and training:
        survey.notes.append(_white(survey))
    if decode:
        survey.problems += _damaged(survey, progress=progress)
    survey.problems += _doubled_files(entries, name)
    return survey


def check_splits(
    root: Path | None,
    *,
    files: CocoFiles | None = None,
    split: str | None = None,
    reading: Reading | None = None,
    every: bool = False,
    pictures: Path | None = None,
    progress: bool = False,
) -> Iterator[SplitCheck]:
    """Look through a data set, a split at a time.

    Of images with an EXIF orientation three are drawn with their objects, to look at.

    Args:
        root: folder of the data, as COCO's or the scenes'.
        files: annotation file and images, instead.
        split: the only split to look at; None is train and val.
        reading: what the user says about the data.
        every: list problems that are alike one by one.
        pictures: folder of the pictures.
        progress: show a bar.

    Raises:
        UserError: no such folder or split.
    """
    if files is None and root is None:
        raise UserError("got no data, expected their folder, or --annotations and --images")
    if files is None and root is not None and not root.is_dir():
        raise UserError(f"got data folder {str(root)!r}, expected a folder")
    usual = RUN_SPLITS if files is None else ("train",)
    classes: list[str] | None = None
    trained: list[str] = []
    for part in (split,) if split is not None else usual:
        found = files or find_coco(root or "", part)
        training = canonical_split(part) == "train"
        survey = survey_whole(
            found,
            training=training,
            classes=classes,
            reading=reading,
            decode=True,
            progress=progress,
        )
        if isinstance(survey, list):
            yield _split_check(part, survey, every=every, training=training)
            continue
        if training:
            classes = survey.classes  # those of the others are theirs
        paths = [entry.path for entry in survey.images.entries.values()]
        if shared := shared_files(trained, paths):
            reason = f"{shared_text(shared, len(paths), part)}, expected others; {TAKE_OUT}"
            survey.problems.append(Problem(survey.record, None, reason, "stops", "shared images"))
        trained = paths if training else trained
        if drawn := draw_turned(survey, pictures or CHECK_PICTURES, part):
            listed = ", ".join(map(str, drawn))
            survey.notes.append(f"images with an EXIF orientation and their objects: {listed}")
        yield _split_check(part, survey.problems, every=every, training=training, survey=survey)


def _split_check(
    part: str,
    problems: Sequence[Problem],
    *,
    every: bool,
    training: bool,
    survey: Survey | None = None,
) -> SplitCheck:
    errors = sum(problem.effect == "stops" for problem in problems)
    notes = [] if survey is None else survey.notes
    remarks = len(problems) - errors + len(notes)
    lines = list(_lines(problems, every=every, training=training))
    lines += [f"remark: {note}" for note in notes]
    report = f"{part}: {errors:,} errors, {remarks:,} remarks"
    if survey is not None and survey.classes:
        report += f"\n{survey.counts.table()}"
    return SplitCheck(report=report, problems=lines, errors=errors)


def _lines(problems: Sequence[Problem], *, every: bool, training: bool) -> Iterator[str]:
    """A line for each problem, or for many that are alike."""
    alike: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        alike.setdefault((problem.effect, problem.kind), []).append(problem)
    for (effect, kind), same in alike.items():
        # Figures are measured on everything as it is annotated.
        word = _WORDS[effect if training or effect == "stops" else "kept"]
        if every or len(same) <= _ALIKE or not kind:
            yield from (f"{word}: {problem}" for problem in same)
        else:
            yield f"{word}: {len(same):,} x {kind}, the first: {same[0]} (--all lists each)"


def _white(survey: Survey) -> str:
    found = f"{survey.record}: {len(survey.images.deep):,} grey images of more than 8 bits"
    try:
        white = find_white(survey.images.deep, max_pixels=survey.reading.max_pixels)
    except ImageError:
        return found
    return f"{found}: white is {white} unless --detector.white says otherwise"


def _damaged(survey: Survey, *, progress: bool) -> Iterator[Problem]:
    entries = [entry for entry in survey.images.entries.values() if entry.fault is None]
    limit = survey.reading.max_pixels
    for entry in tqdm(entries, unit="entry", disable=not progress):
        try:
            read_image(entry.path, max_pixels=limit)
        except ImageError as error:
            reason = f"{error.reason} (image {entry.own_id} of {survey.record})"
            yield Problem(entry.path, None, reason, "stops", "image files")


def _doubled_files(entries: dict[Key, ImageEntry], record: str) -> Iterator[Problem]:
    first: dict[str, ImageEntry] = {}
    for entry in entries.values():
        earlier = first.setdefault(entry.path, entry)
        if earlier is not entry:
            ids = f"images {earlier.own_id} and {entry.own_id}"
            reason = f"{ids} are the same file {entry.name}"
            yield Problem(record, None, reason, "kept", "files of several images")
