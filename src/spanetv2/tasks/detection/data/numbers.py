"""Numbers in annotation files: which are any, and how a message shows what is none."""

from typing import Any

from spanetv2.text import shorten

__all__ = ["LARGEST", "is_number", "shown"]

LARGEST = 1e9
"""Pixels that no place in an image is further away; areas are at most its square."""


def is_number(value: Any, largest: float = LARGEST) -> bool:
    """Whether a value is a finite number in range, and no truth value.

    Example:
        >>> [is_number(value) for value in (1, -2.5, True, "1", float("nan"), 1e308, 10**400)]
        [True, True, False, False, False, False, False]
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= largest  # not-a-number is not


def shown(value: Any) -> str:
    """A value of the file in a message, cut where it is long.

    Example:
        >>> shown("a"), len(shown([0] * 1000))
        ("'a'", 80)
    """
    return shorten(repr(value), 80)
