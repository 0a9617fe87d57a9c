"""Names and colours of classes, and matching a data set's classes with a model's."""

import colorsys
import functools
import itertools
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spanetv2.data.classes import class_rows
from spanetv2.errors import UserError
from spanetv2.files import read_text

__all__ = [
    "Colour",
    "check_names",
    "distinct_colours",
    "match_classes",
    "parse_colour_code",
    "parse_lines",
    "read_class_file",
]

Colour = tuple[int, int, int]

_MOST = 255
_LINE = re.compile(r"(?P<name>.*?)(?:\s+#(?P<colour>[0-9a-fA-F]{6}))?\s*")


def read_class_file(path: str | os.PathLike[str]) -> tuple[list[str], list[Colour]]:
    """Read a class list: a name on each line, in the order of the labels.

    A line may end in the class's colour, as in ``grass #00a040``; the others get one that differs.

    Returns:
        Names and colours.

    Raises:
        UserError: unreadable, empty, a name twice, an empty line between names, or too many.
    """
    path = Path(path)
    names, given = parse_lines(read_text(path, expected="a class name on each line"), str(path))
    colours = distinct_colours(len(names))
    return names, [own or other for own, other in zip(given, colours, strict=True)]


def parse_lines(text: str, where: str) -> tuple[list[str], list[Colour | None]]:
    """Names, and the colours that their lines end in.

    Raises:
        UserError: an empty line between names, or a list that cannot be used.
    """
    names: list[str] = []
    given: list[Colour | None] = []
    for number, line in enumerate(text.rstrip().splitlines(), start=1):
        match = _LINE.fullmatch(line.strip())
        name = match["name"].strip() if match else ""
        if match is None or not name:
            raise UserError(f"got an empty line {number} in {where}, expected a class name")
        names.append(name)
        given.append(parse_colour_code(match["colour"]) if match["colour"] else None)
    check_names(names, where)
    return names, given


def parse_colour_code(code: str) -> Colour:
    """Six hexadecimal digits as red, green and blue.

    Example:
        >>> parse_colour_code("00a040")
        (0, 160, 64)
    """
    return int(code[:2], 16), int(code[2:4], 16), int(code[4:], 16)


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse a class list that cannot be used.

    Raises:
        UserError: no name, one twice, or more than labels can tell apart.
    """
    if not names:
        raise UserError(f"got no class names in {where}, expected one or more")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"got class {twice[0]!r} twice in {where}, expected different names")
    if len(names) > _MOST:
        raise UserError(
            f"got {len(names)} classes in {where}, expected at most {_MOST}: labels are bytes and "
            "255 means not labelled"
        )


@functools.cache
def _spread_colours() -> list[Colour]:
    """Colours in an order in which each is as far as can be from all before it."""
    hsv = [
        *itertools.product(np.arange(24) / 24, (0.45, 0.75, 1.0), (0.5, 0.75, 0.97)),
        *((0.0, 0.0, grey) for grey in (0.25, 0.5, 0.7, 0.9)),
    ]
    colours = np.rint([255 * np.array(colorsys.hsv_to_rgb(*code)) for code in hsv]).astype(int)
    colours = np.unique(colours, axis=0).astype(np.float64)
    # A cheap stand-in for what eyes see: green counts most, blue least.
    places = colours * np.sqrt([0.30, 0.50, 0.20])
    start = int(np.abs(colours - [90, 110, 150]).sum(axis=1).argmin())
    chosen, distance = [start], ((places - places[start]) ** 2).sum(axis=1)
    while len(chosen) < _MOST:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, ((places - places[chosen[-1]]) ** 2).sum(axis=1))
    return [(int(r), int(g), int(b)) for r, g, b in colours[chosen]]


def distinct_colours(count: int) -> list[Colour]:
    """Colours that are told apart as well as so many can be; the first are always the same.

    Example:
        >>> distinct_colours(3)[:2] == distinct_colours(2), len(set(distinct_colours(200)))
        (True, 200)
    """
    return _spread_colours()[:count]


def match_classes(data: Sequence[str], model: Sequence[str]) -> list[int]:
    """For each of a data set's classes, the model's output that means it, by name.

    The data may hold a part of the model's classes, in any order.

    Raises:
        UserError: a class that the model does not know.

    Example:
        >>> match_classes(["dog", "cat"], ["cat", "ant", "dog"])
        [2, 0]
    """

    def refusal(unknown: str, known: str) -> str:
        return (
            f"got data of classes {unknown} that the model does not know; its {len(model)} "
            f"classes are {known}"
        )

    return class_rows(data, model, refusal=refusal)
