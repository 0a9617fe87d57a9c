"""Class lists as annotation tools write them.

- ``classes.txt``: a name a line, in the order of the values; a line may carry a colour, as
  ``grass #00a040``, or on every line as three numbers before or after the name;
- ``labelmap.txt`` (CVAT, VOC): ``name:red,green,blue:parts:actions`` a line;
- ``_classes.csv`` (Roboflow), ``class_dict.csv`` (Kaggle): a table with a header that names the
  class and its pixel value, its colour (r, g, b or one hexadecimal column), or both.
"""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spanetv2.data.walk import is_file
from spanetv2.errors import UserError
from spanetv2.files import read_text
from spanetv2.tasks.segmentation.data.classes import (
    Colour,
    check_names,
    distinct_colours,
    parse_colour_code,
    parse_lines,
)

__all__ = ["CLASS_FILES", "ClassList", "find_class_file", "read_class_list"]

CLASS_FILES = ("classes.txt", "labelmap.txt", "_classes.csv", "class_dict.csv", "classes.csv")
"""Names by which a class list is found, in the order in which they are looked for."""

_NUMBERS = r"(\d{1,3})[\s,;]+(\d{1,3})[\s,;]+(\d{1,3})"
_COLOUR_LAST = re.compile(rf"(?P<name>.*?\S)[\s,;:]+{_NUMBERS}")
_COLOUR_FIRST = re.compile(rf"{_NUMBERS}[\s,;:]+(?P<name>\S.*)")
_LABELMAP = re.compile(r"(?P<name>[^:]+):\s*(\d{1,3}),\s*(\d{1,3}),\s*(\d{1,3})\s*(:.*)?")

_NAME_COLUMNS = ("class", "name", "label", "class name", "classname", "category")
_VALUE_COLUMNS = ("pixel value", "value", "id", "index", "class id", "label id")
_CODE_COLUMNS = ("colour", "color", "hex", "rgb")


@dataclass(frozen=True, kw_only=True)
class ClassList:
    """The classes of a data set, and how its masks may show them.

    Args:
        names: by label.
        given: the colours that the list itself gives, None where it gives none.
        values: the value of each class in a mask, where the list says it.
        by_colour: a class is its colour, as in CVAT's list, and the order says nothing.
    """

    names: list[str]
    given: list[Colour | None]
    values: list[int] | None = None
    by_colour: bool = False

    @property
    def palette(self) -> list[Colour]:
        """A colour for each class, to draw it in."""
        others = distinct_colours(len(self.names))
        return [own or other for own, other in zip(self.given, others, strict=True)]

    @property
    def colour_table(self) -> dict[Colour, int] | None:
        """Label by colour; None unless every class has a colour of its own."""
        table = {colour: label for label, colour in enumerate(self.given) if colour is not None}
        return table if len(table) == len(self.names) else None


def find_class_file(folders: Sequence[Path]) -> Path | None:
    """The first class list that lies in one of the folders."""
    return next(
        (f / name for f in folders for name in CLASS_FILES if is_file(f / name)),
        None,
    )


def read_class_list(path: Path) -> ClassList:
    """Read a class list of any of the kinds, whatever its name.

    Raises:
        UserError: unreadable, empty, a name or a value twice, or a table without a class column.
    """
    text = read_text(path, expected="a class name on each line")
    if path.suffix.lower() == ".csv":
        return _table(text, path)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for pattern, listed, by_colour in (
        (_LABELMAP, [line for line in lines if not line.startswith("#")], True),
        (_COLOUR_LAST, lines, False),
        (_COLOUR_FIRST, lines, False),
    ):
        found = [pattern.fullmatch(line) for line in listed]
        matches = [match for match in found if match is not None]
        if not matches or len(matches) < len(listed):
            continue
        first = 0 if pattern is _COLOUR_FIRST else 1
        given = [_colour(match.groups()[first : first + 3], path) for match in matches]
        names = [match["name"].strip() for match in matches]
        check_names(names, str(path))
        _check_colours(names, given, path)
        return ClassList(names=names, given=list(given), by_colour=by_colour)
    names, plain = parse_lines(text, str(path))
    return ClassList(names=names, given=plain)


def _colour(parts: Sequence[str], path: Path) -> Colour:
    red, green, blue = (int(part) for part in parts)
    if max(red, green, blue) > 255:
        raise UserError(f"got colour {red},{green},{blue} in {path}, expected numbers up to 255")
    return red, green, blue


def _check_colours(names: Sequence[str], colours: Sequence[Colour], path: Path) -> None:
    first: dict[Colour, str] = {}
    for name, colour in zip(names, colours, strict=True):
        if colour in first:
            raise UserError(
                f"got colour {colour} for both {first[colour]!r} and {name!r} in {path}, expected "
                "a colour for each class"
            )
        first[colour] = name


def _table(text: str, path: Path) -> ClassList:
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        dialect = csv.Sniffer().sniff("\n".join(lines[:5]), ",;\t") if lines else csv.excel
    except csv.Error:
        dialect = csv.excel
    reader = csv.reader(io.StringIO("\n".join(lines)), dialect)
    rows = [[cell.strip() for cell in row] for row in reader]
    header = [cell.lower().replace("_", " ") for cell in rows[0]] if rows else []
    name = next((header.index(c) for c in _NAME_COLUMNS if c in header), None)
    if name is None:
        raise UserError(
            f"got {path} with the columns {', '.join(header) or 'none'}, expected a column class "
            "or name, and pixel value or r, g, b"
        )
    value = next((header.index(c) for c in _VALUE_COLUMNS if c in header), None)
    code = next((header.index(c) for c in _CODE_COLUMNS if c in header), None)
    parts = next(
        (
            [header.index(c) for c in columns]
            for columns in (("r", "g", "b"), ("red", "green", "blue"))
            if set(columns) <= set(header)
        ),
        None,
    )
    names: list[str] = []
    values: list[int] = []
    given: list[Colour | None] = []
    try:
        for row in rows[1:]:
            names.append(row[name])
            if value is not None:
                values.append(int(row[value]))
            if parts is not None:
                given.append(_colour([row[place] for place in parts], path))
            elif code is not None and re.fullmatch(r"#?[0-9a-fA-F]{6}", row[code]):
                given.append(parse_colour_code(row[code].removeprefix("#")))
            else:
                given.append(None)
    except (IndexError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"got row {','.join(rows[len(names)])!r} in {path}, expected {', '.join(header)}, the "
            "numbers whole ones"
        ) from None
    check_names(names, str(path))
    if values and (len(set(values)) < len(values) or not all(0 <= v <= 255 for v in values)):
        raise UserError(f"got pixel values {values} in {path}, expected different ones, 0 to 255")
    own = [colour for colour in given if colour is not None]
    if len(own) == len(names):
        _check_colours(names, own, path)
    return ClassList(
        names=names,
        given=given,
        values=values or None,
        by_colour=len(own) == len(names) and not values,
    )
