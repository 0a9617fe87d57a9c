"""Where a configuration names code: classes, functions, whatever a parser would import.

Reading a file must not run what it names, so a file may hold plain values only. Classes and
functions come from Python, or are typed on the command line.
"""

import dataclasses
import datetime
import decimal
import enum
import itertools
import os
import types
import typing
import uuid
from collections import abc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from spanetv2.errors import UserError
from spanetv2.plain_yaml import EndlessYamlError, load_yaml

__all__ = [
    "CodeName",
    "Group",
    "describe_code",
    "fields_of",
    "find_code_names",
    "groups_in",
    "hints_of",
    "load_text",
]

Group = Mapping[str, Any]
"""Type hints by name: of a dataclass's fields, or of a function's parameters."""

_PLAIN = (
    *(bool, int, float, complex, bytes, range, enum.Enum, PurePath, decimal.Decimal, uuid.UUID),
    *(datetime.date, datetime.time, datetime.timedelta),
)
_TEXT: tuple[Any, ...] = (str, types.NoneType, os.PathLike, *_PLAIN)  # what text may be given for
_LISTS = (list, tuple, set, frozenset, abc.Sequence, abc.Iterable, abc.Collection, abc.Set)
_MAPPINGS = (dict, abc.Mapping, abc.MutableMapping)
_SPECIFICATION = {"class_path", "init_args", "dict_kwargs"}  # how jsonargparse spells an object


@dataclass(frozen=True, kw_only=True)
class CodeName:
    """A value that names code.

    Args:
        keys: its place, from the outermost group inwards; indices in lists.
        value: the value.
    """

    keys: tuple[str | int, ...]
    value: Any

    @property
    def path(self) -> tuple[str, ...]:
        """The keys of the option or entry: those before the first list."""
        return tuple(str(k) for k in itertools.takewhile(lambda k: isinstance(k, str), self.keys))

    @property
    def key(self) -> str:
        """The option or entry, dotted."""
        return ".".join(self.path)


def fields_of(config_class: type) -> Group:
    """Type hints of a dataclass's fields."""
    hints = typing.get_type_hints(config_class, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(config_class)}


def hints_of(function: abc.Callable[..., Any]) -> Group:
    """Type hints of a function's parameters."""
    hints = typing.get_type_hints(function, include_extras=True)
    return {name: hint for name, hint in hints.items() if name != "return"}


def groups_in(group: Group, prefix: str = "") -> Iterator[str]:
    """Dotted names of the groups in a group.

    Example:
        >>> @dataclass
        ... class Inner:
        ...     size: int = 1
        >>> list(groups_in({"name": str, "inner": Inner}))
        ['inner']
    """
    for name, hint in group.items():
        if (inner := _group(hint)) is not None:
            yield prefix + name
            yield from groups_in(inner, f"{prefix}{name}.")


def find_code_names(
    values: Mapping[str, Any],
    group: Group,
    *,
    short_names: Mapping[str, abc.Container[str]] | None = None,
) -> Iterator[CodeName]:
    """Every value that a parser with these types would or could import code for.

    What is not certain to be plain counts as code: text for a type that is a class, a function or
    ``type``; any object that is not a plain value; a mapping with ``class_path``, also inside text.

    Args:
        values: groups and values, as a file holds them; dotted keys are allowed.
        group: what types they are given for; a group in it is a dataclass or a mapping of hints.
        short_names: texts that are no import path, by option.

    Example:
        >>> names = {"trainer": {"callbacks": [{"class_path": "mine.Callback"}]}, "seed": 1}
        >>> [name.key for name in find_code_names(names, {"trainer": dict, "seed": int})]
        ['trainer.callbacks']
    """
    walk = _Walk(short_names or {})
    yield from walk.through(values, (group,), ())


def describe_code(value: Any) -> str:
    """What code a value names, in short.

    Example:
        >>> describe_code([{"class_path": "mine.Callback", "init_args": {}}, print])
        'mine.Callback, builtins.print'
    """
    if isinstance(value, Mapping):
        if "class_path" in value:
            return describe_code(value["class_path"])
        return ", ".join(map(describe_code, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(map(describe_code, value))
    if isinstance(value, str):
        return " ".join(value.split())
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


class _Walk:
    def __init__(self, short_names: Mapping[str, abc.Container[str]]):
        self.short_names = short_names

    def through(
        self, value: Any, hints: tuple[Any, ...], keys: tuple[str | int, ...]
    ) -> Iterator[CodeName]:
        """The names in a value, which is given for any of some types."""
        members = tuple(member for hint in hints for member in _members(hint))
        if value is None or isinstance(value, _PLAIN):
            return
        name = CodeName(keys=keys, value=value)
        if isinstance(value, str):
            if value in self.short_names.get(name.key, ()):
                return
            if not all(map(_takes_text, members)):
                yield name
            elif members != (str,) and isinstance(loaded := load_text(value), (dict, list)):
                yield from self.through(loaded, hints, keys)
        elif isinstance(value, Mapping):
            parts = {part for key in value for part in str(key).removesuffix("+").split(".")}
            if parts & _SPECIFICATION or any(map(_is_code, members)):
                yield name
                return
            for key, item in value.items():
                path = tuple(str(key).removesuffix("+").split("."))
                yield from self.through(item, _types_of_entry(members, path), (*keys, str(key)))
        elif isinstance(value, (list, tuple, set, frozenset)):
            if any(map(_is_code, members)):
                yield name
                return
            items = tuple(hint for member in members for hint in _types_of_items(member))
            for index, item in enumerate(value):
                yield from self.through(item, items or (Any,), (*keys, index))
        else:
            yield name


def _members(hint: Any) -> Iterator[Any]:
    """The alternatives that a type hint allows."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        yield from _members(typing.get_args(hint)[0])
    elif origin in (typing.Union, types.UnionType):
        for member in typing.get_args(hint):
            yield from _members(member)
    else:
        yield hint


def _group(hint: Any) -> Group | None:
    if isinstance(hint, Mapping):
        return hint
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return fields_of(hint)
    return None


def _origin(hint: Any) -> Any:
    return typing.get_origin(hint) or hint


def _takes_text(hint: Any) -> bool:
    """Whether text for this type is never an import path, or is read as YAML and looked at."""
    origin = _origin(hint)
    if hint in (Any, object) or origin is typing.Literal or origin in (*_LISTS, *_MAPPINGS):
        return True
    return isinstance(origin, type) and any(issubclass(origin, plain) for plain in _TEXT)


def _is_code(hint: Any) -> bool:
    """Whether a value for this type is an object of a class, a function or a class."""
    return not _takes_text(hint) and _group(hint) is None


def _types_of_entry(members: tuple[Any, ...], path: tuple[str, ...]) -> tuple[Any, ...]:
    hints: list[Any] = []
    for member in members:
        if (group := _group(member)) is not None:
            hint = group.get(path[0], Any)
            hints += _types_of_entry((hint,), path[1:]) if path[1:] else (hint,)
        elif _origin(member) in _MAPPINGS:
            hints.append((*typing.get_args(member), Any, Any)[1])
    return tuple(hints) or (Any,)


def _types_of_items(hint: Any) -> tuple[Any, ...]:
    if _origin(hint) not in _LISTS:
        return ()
    return tuple(item for item in typing.get_args(hint) if item is not ...) or (Any,)


def load_text(text: str) -> Any:
    """What a parser may take a text for: a list, a mapping, a number; else the text.

    Raises:
        EndlessYamlError: it stands for more values than a parser should make of it.
    """
    try:
        return load_yaml(text)
    except EndlessYamlError:
        raise
    except UserError:
        return text  # no parser makes more of it
