"""YAML as data: looked through as it is written, before anything is made of it.

A few lines of YAML can stand for billions of values, contain themselves, or name classes. All of
it shows in the graph of nodes that a parser makes first, which is as small as the text.
"""

import os
from typing import Any

from spanetv2.errors import ConfigError, UserError
from spanetv2.files import read_text
from spanetv2.text import one_line, printable

__all__ = ["EndlessYamlError", "check_yaml", "load_texts", "load_yaml", "read_yaml"]

_MOST_VALUES = 200_000
_DEEPEST = 40
_LONGEST_NUMBER = 400
_RESOLVED = ("tag:yaml.org,2002:merge", "tag:yaml.org,2002:value")  # << and =


class EndlessYamlError(ConfigError):
    """A text that stands for more values than any configuration has."""


def load_yaml(text: str) -> Any:
    """What a text says: none, truth values, numbers, texts, lists and mappings.

    Numbers such as 1e-3 are read as numbers, as jsonargparse reads them.

    Raises:
        UserError: no YAML, a key that is there twice, a tag, or more values than make sense; the
            message has the line and the column.

    Example:
        >>> load_yaml("optimizer: {lr: 1e-3}")
        {'optimizer': {'lr': 0.001}}
        >>> load_yaml("seed: !!python/name:os.system")
        Traceback (most recent call last):
        spanetv2.errors.UserError: line 1, column 7: the tag !!python/name:os.system, expected \
plain values: a file names no classes or functions, as reading these runs code
    """
    from jsonargparse import get_loader

    check_yaml(text)
    try:
        return get_loader("yaml")(text)
    except Exception as error:  # a number or a date that is none
        raise UserError(f"a value that cannot be read: {_problem(error)}") from None


def load_texts(text: str) -> Any:
    """What a text says, each single value as it is written: ``no`` is "no", ``01`` is "01".

    Raises:
        UserError: as in ``load_yaml``.

    Example:
        >>> load_texts("names: [yes, 1.0, 'cat']")
        {'names': ['yes', '1.0', 'cat']}
    """
    import yaml

    check_yaml(text)
    return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes texts alone


def read_yaml(path: str | os.PathLike[str], *, expected: str) -> Any:
    """What a YAML file says, as ``load_yaml`` reads it.

    Raises:
        UserError: it cannot be read, or is no plain YAML.
    """
    text = read_text(path, expected=expected)
    try:
        return load_yaml(text)
    except UserError as error:
        raise UserError(f"{printable(str(path))}: {error}") from None


def check_yaml(text: str) -> None:
    """Refuse a text that is no plain YAML.

    Raises:
        EndlessYamlError: it contains itself, or stands for too many values.
        UserError: anything else that ``load_yaml`` refuses.
    """
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        root = yaml.compose(text, Loader=loader)
    except RecursionError:
        raise EndlessYamlError(f"values inside more than {_DEEPEST} others") from None
    except yaml.YAMLError as error:
        raise UserError(_problem(error)) from None
    _Look({*yaml.SafeLoader.yaml_constructors, *_RESOLVED}).through(root, 0)


class _Look:
    """Goes through the nodes, each once, however often it is meant."""

    def __init__(self, tags: set[Any]):
        self.tags = tags
        self.open: set[int] = set()
        self.sizes: dict[int, tuple[int, int]] = {}

    def through(self, node: Any, depth: int) -> tuple[int, int]:
        """(number of values that a node stands for, how deep they lie)."""
        import yaml

        if node is None:
            return 0, 0
        known = self.sizes.get(id(node))
        if known is not None and depth + known[1] <= _DEEPEST:
            return known
        where = _place(node.start_mark)
        if node.tag not in self.tags:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise UserError(
                f"{where}: the tag {tag}, expected plain values: a file names no classes or "
                "functions, as reading these runs code"
            )
        if node.tag.endswith(":int") and len(node.value) > _LONGEST_NUMBER:
            raise UserError(f"{where}: a number of {len(node.value):,} digits")
        if id(node) in self.open:
            raise EndlessYamlError(f"{where}: a value that contains itself")
        if depth >= _DEEPEST:
            raise EndlessYamlError(f"{where}: values inside more than {_DEEPEST} others")
        self.open.add(id(node))
        parts: list[Any] = []
        if isinstance(node, yaml.SequenceNode):
            parts = list(node.value)
        elif isinstance(node, yaml.MappingNode):
            _refuse_twice(node)
            parts = [part for pair in node.value for part in pair]
        inside = [self.through(part, depth + 1) for part in parts]
        self.open.discard(id(node))
        size = 1 + sum(part[0] for part in inside)
        if size > _MOST_VALUES:
            raise EndlessYamlError(
                f"{where}: stands for more than {_MOST_VALUES:,} values, as its anchors are "
                "repeated; write out what is meant"
            )
        self.sizes[id(node)] = size, 1 + max((part[1] for part in inside), default=0)
        return self.sizes[id(node)]


def _refuse_twice(node: Any) -> None:
    seen: set[Any] = set()
    for key, _ in node.value:
        name = (key.tag, key.value) if isinstance(key.value, str) else None
        if name is not None and name in seen:
            raise UserError(
                f"{_place(key.start_mark)}: the key {key.value!r} is there twice, expected once"
            )
        seen.add(name)


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}"


def _problem(error: Exception) -> str:
    """One line about what a parser did not like."""
    mark = getattr(error, "problem_mark", None)
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    line = one_line(said) or "not understood"
    return line if mark is None else f"{_place(mark)}: {line}"
