"""What should be known about a data set before it is trained on, in a line each."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from spanetv2.tasks.detection.data.counts import by_class, ordered

if TYPE_CHECKING:
    from spanetv2.tasks.detection.data.survey import Survey

__all__ = ["notes_of"]

_MANY_CROWDS = 0.25
"""Share of a class's objects from which crowds are taken for an exporter's habit."""


def notes_of(survey: "Survey", placeholders: Sequence[str]) -> list[str]:
    """All notes on a data set.

    Args:
        survey: of it.
        placeholders: categories that are no class.
    """
    parts = (_orientations, _sizes, _files, _measured, _crowds, _masks)
    notes = [note for part in parts for note in part(survey)]
    notes += [
        f"category {name!r} only groups others and has no object: it is no class"
        for name in placeholders
    ]
    return [f"{survey.record}: {note}" for note in notes]


def _orientations(survey: "Survey") -> Iterator[str]:
    turned = survey.images.turned
    if not turned:
        return
    total = len(survey.images.entries)
    how = ", ".join(f"{count:,} {way}" for way, count in turned.items())
    yield (
        f"{turned.total():,} of {total:,} images have an EXIF orientation; their annotations are "
        f"taken as drawn on the image: {how}. If objects lie beside, say how they were drawn: "
        "--data.orientation shown, stored or percent (Label Studio); check-data --orientation "
        "draws three of them"
    )


def _sizes(survey: "Survey") -> Iterator[str]:
    if count := survey.images.sizes_read:
        yield f"{count:,} images without width and height in whole pixels: read from the files"


def _files(survey: "Survey") -> Iterator[str]:
    for how, pairs in survey.images.elsewhere.items():
        name, path = pairs[0]
        yield f"{len(pairs):,} images were found by {how}: {name!r} is {path}"


def _measured(survey: "Survey") -> Iterator[str]:
    if not survey.counts.training and (text := survey.counts.measured_text()):
        yield text


def _crowds(survey: "Survey") -> Iterator[str]:
    counts = survey.counts
    many = [
        name
        for name in ordered(counts.crowds)
        if counts.crowds[name] >= _MANY_CROWDS * counts.objects[name] > 0
    ]
    if not many:
        return
    named = by_class(counts.crowds, many)
    yield (
        f"{counts.crowds.total():,} of {counts.objects.total():,} objects are crowds ({named}): "
        "training goes without them and figures do not count them. Tools that write masks as run "
        'lengths (CVAT) mark them so: where one object is meant, write "iscrowd": 0'
    )


def _masks(survey: "Survey") -> Iterator[str]:
    counts = survey.counts
    if text := counts.masks_text():
        yield text
    elif survey.reading.masks and counts.single and not counts.masks.total():
        yield f"no mask on any of {counts.single.total():,} objects: boxes alone"
