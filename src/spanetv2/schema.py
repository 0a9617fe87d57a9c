"""Plain values, such as a file's JSON, held against type hints before anything believes them."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from spanetv2.errors import UserError

__all__ = ["build_from", "check_value", "plain_fault"]

T = TypeVar("T")

_MOST_ITEMS = 1_000_000
_LONGEST_TEXT = 10_000
_LARGEST_NUMBER = 10**9
_DEEPEST = 20
_SHOWN = 60
_SEQUENCES = (list, tuple, Sequence)


def check_value(name: str, value: Any, hint: Any) -> None:
    """Refuse a value of another type, a number that is not finite, or one beyond all sense.

    Of a list or a mapping of anything, only that it is one is looked at: see ``plain_fault``.

    Args:
        name: what to call it in the message.
        value: a plain value: none, a truth value, a number, a text, a list or a mapping of these.
        hint: None, bool, int, float, str, Any, Literal, lists, tuples, mappings, and unions of
            these. Whole numbers fit float, lists fit tuples.

    Raises:
        UserError: saying what was got and what was expected.

    Example:
        >>> check_value("width", "many", int | None)
        Traceback (most recent call last):
        spanetv2.errors.UserError: width is 'many', expected a whole number or null
    """
    if not _fits(value, hint):
        shown = repr(value)
        shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
        raise UserError(f"{name} is {shown}, expected {_describe(hint)}")
    free = hint is Any or Any in typing.get_args(hint)
    if not free and (fault := plain_fault(value)) is not None:
        raise UserError(f"{name} holds {fault}")


def build_from(cls: type[T], values: Any, *, name: str) -> T:
    """A dataclass from the plain values of its fields, each held against its type.

    Args:
        cls: a dataclass that checks ranges itself.
        values: field -> value; fields that are left out take their defaults.
        name: what to call them in messages.

    Raises:
        UserError: no mapping, an unknown field, a value of another type or out of range.

    Example:
        >>> @dataclasses.dataclass
        ... class Head:
        ...     width: int = 8
        >>> build_from(Head, {"width": 16}, name="head")
        Head(width=16)
    """
    check_value(name, values, dict[str, Any])
    hints = typing.get_type_hints(cls)
    fields = [field.name for field in dataclasses.fields(typing.cast(Any, cls)) if field.init]
    for key, value in values.items():
        if key not in fields:
            raise UserError(
                f"{name} has {key!r}, expected some of {', '.join(fields)}; a newer version may "
                "have written it"
            )
        check_value(f"{name}.{key}", value, hints[key])
    return cls(**values)


def plain_fault(value: Any, depth: int = 0) -> str | None:
    """What a plain value holds that no file of ours does; None where it is sound.

    Example:
        >>> plain_fault({"a": [1, float("nan")]})
        'nan, expected a finite number'
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        if isinstance(value, float) and not math.isfinite(value):
            return f"{value}, expected a finite number"
        return None if abs(value) <= _LARGEST_NUMBER else f"a number above {_LARGEST_NUMBER:,}"
    if isinstance(value, str):
        return None if len(value) <= _LONGEST_TEXT else f"a text of {len(value):,} characters"
    if depth >= _DEEPEST:
        return f"values inside more than {_DEEPEST} others"
    if isinstance(value, Mapping):
        if any(not isinstance(key, str) for key in value):
            return "a key that is no text"
        parts: Any = value.values()
    elif isinstance(value, list | tuple):
        parts = value
    else:
        return f"a {type(value).__name__}, expected plain values"
    if len(value) > _MOST_ITEMS:
        return f"{len(value):,} values, expected at most {_MOST_ITEMS:,}"
    return next((fault for part in parts if (fault := plain_fault(part, depth + 1))), None)


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (Any, object):
        return True
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, member) for member in arguments)
    if origin is typing.Literal:
        return any(type(value) is type(member) and value == member for member in arguments)
    if origin in (None, types.NoneType):
        return value is None
    if origin in (int, float):
        accepted = int if origin is int else (int, float)
        return isinstance(value, accepted) and not isinstance(value, bool)
    if origin in _SEQUENCES:
        if not isinstance(value, list | tuple):
            return False
        if origin is tuple and arguments and arguments[-1] is not ...:
            return len(value) == len(arguments) and all(map(_fits, value, arguments))
        return all(_fits(item, arguments[0] if arguments else Any) for item in value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            _fits(key, arguments[0]) and _fits(item, arguments[1])
            for key, item in (value.items() if arguments else ())
        )
    return isinstance(value, origin)


def _describe(hint: Any) -> str:
    """A type in words.

    Example:
        >>> _describe(tuple[float, float] | None)
        'a list of 2 (a number, a number) or null'
    """
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_describe, arguments))
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin in _SEQUENCES:
        if origin is tuple and arguments and arguments[-1] is not ...:
            return f"a list of {len(arguments)} ({', '.join(map(_describe, arguments))})"
        return f"a list, each {_describe(arguments[0])}" if arguments else "a list"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    words |= {types.NoneType: "null", dict: "a mapping", Mapping: "a mapping", Any: "any value"}
    return words.get(origin, getattr(origin, "__name__", str(origin)))
