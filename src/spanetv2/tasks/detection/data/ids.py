"""Ids in annotation files: keys by which one entry refers to another, whatever they look like."""

import math
from typing import Any

__all__ = ["Key", "OwnId", "id_key", "in_order"]

Key = int | str
"""An id as it is compared."""

OwnId = int | float | str
"""An id as the file writes it, and as results files give it back."""


def id_key(value: Any) -> Key | None:
    """What an id is known by; None where the value is no id.

    Whole numbers of any size and sign are ids, also where they are written as floats (pandas) or as
    text (spreadsheets); so is any other text (UUIDs).

    Example:
        >>> id_key(7), id_key(7.0), id_key("7"), id_key("a7"), id_key(7.5), id_key(None)
        (7, 7, 7, 'a7', None, None)
        >>> id_key(-(2**127)) == -(2**127), id_key("007")
        (True, '007')
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) else None
    if not isinstance(value, str) or not value:
        return None
    digits = value.removeprefix("-")
    plain = digits.isascii() and digits.isdigit() and len(digits) < 80
    # Leading zeros make another text: COCO's file names are such.
    return int(value) if plain and str(int(value)) == value else value


def in_order(key: Key) -> tuple[bool, int, str]:
    """For sorting keys: numbers by value, then texts.

    Example:
        >>> sorted(["b", 10, 9, "a"], key=in_order)
        [9, 10, 'a', 'b']
    """
    return (True, 0, key) if isinstance(key, str) else (False, key, "")
