"""What a user said, and where: in files, in Python, on the command line.

Files are read here, and looked through before a parser sees what they hold: see ``code_names``.
"""

import contextlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from spanetv2.errors import ConfigError
from spanetv2.models.weights.record import NO_SOURCE, names_source
from spanetv2.plain_yaml import EndlessYamlError
from spanetv2.text import one_line
from spanetv2.training.code_names import describe_code, find_code_names, load_text
from spanetv2.training.parser import RunParser
from spanetv2.training.recipes import ConfigFile, read_config_file

__all__ = [
    "Source",
    "check_class_arguments",
    "check_groups",
    "mentions",
    "plain_values",
    "said_by_hand",
    "short_line",
    "split_words",
]

Source = str | PathLike[str] | Mapping[str, Any] | Sequence[str]
"""A recipe's name or a path; groups and values; or options as they are typed."""


def plain_values(file: ConfigFile, parser: RunParser, *, task: str) -> dict[str, Any]:
    """What a file says, without its ``out``.

    Raises:
        ConfigError: it is for another task, or names classes or functions.
    """
    if file.task not in (None, task):
        raise ConfigError(
            f"got {file.path}, a recipe for {file.task}; use spanetv2 train {file.task}"
        )
    said = {key: value for key, value in file.values.items() if key != "out"}
    try:
        code = next(find_code_names(said, parser.group, short_names=parser.short_names), None)
    except (EndlessYamlError, RecursionError) as error:
        said = str(error) if isinstance(error, EndlessYamlError) else "a value that contains itself"
        raise ConfigError(f"{file.path}: got {said}") from None
    if code is not None:
        expected = "a plain value"
        if code.key in parser.short_names:
            expected = f"one of {', '.join(parser.short_names[code.key])}"
        raise ConfigError(
            f"{file.path}: {code.key} is {short_line(describe_code(code.value))}, expected "
            f"{expected}: a file names no classes or functions, as reading these runs code; give "
            f"--{code.key} on the command line, or from Python"
        )
    for key in _model_options(said):
        if names_source(key):
            raise ConfigError(f"{file.path}: model.kwargs has {key!r}, {NO_SOURCE}")
    return said


def _model_options(said: Mapping[str, Any]) -> Iterator[str]:
    for place in _dotted(said):
        _, found, key = place.partition("model.kwargs.")
        if found:
            yield from key.split(".")


def split_words(parser: RunParser, words: Sequence[str]) -> Iterator[Sequence[str] | ConfigFile]:
    """Typed options, with the files for whole groups (``--optimizer FILE``) as files.

    Raises:
        ConfigError: a file in an argument of a typed class names classes.
    """
    rest, part = list(words), []
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        option = name.removeprefix("--").removesuffix("+")
        if not name.startswith("--") or not (equals or rest):
            part.append(word)
            continue
        value = value if equals else rest[0]
        if option in parser.groups and _is_file(value):
            rest = rest if equals else rest[1:]
            yield part
            part = []
            file = read_config_file(Path(value))
            yield ConfigFile(path=file.path, task=file.task, values=_nested(option, file.values))
            continue
        if option in parser.groups and isinstance(values := load_text(value), Mapping):
            check_groups(parser, _nested(option, values))
        beyond = any(option.startswith(f"{outer}.") for outer in parser.options)
        check_class_arguments(value, inside=beyond)
        part.append(word)
    yield part


def check_groups(parser: RunParser, values: Mapping[str, Any]) -> None:
    """Refuse text for a whole group, which a parser would take for a file or a class.

    Raises:
        ConfigError: naming the group.
    """
    for name in find_code_names(values, parser.group):
        if name.key in parser.groups and isinstance(name.value, str):
            raise ConfigError(
                f"{name.key}: got {short_line(name.value)!r}, expected a mapping of values; a file "
                "goes where recipes do, with its groups in it"
            )


def check_class_arguments(value: Any, *, inside: bool = False) -> None:
    """Look through the files that the arguments of a class name.

    A parser reads a file for an argument that is a group of values.

    Args:
        value: of an option.
        inside: whether it is an argument of a class.

    Raises:
        ConfigError: such a file names classes.
    """
    value = load_text(value) if isinstance(value, str) and value[:1] in ("{", "[") else value
    if isinstance(value, Mapping):
        for item in value.values():
            check_class_arguments(item, inside=inside or "class_path" in value)
    elif isinstance(value, (list, tuple)):
        for item in value:
            check_class_arguments(item, inside=inside)
    elif inside and isinstance(value, str) and _is_file(value):
        try:
            content = read_config_file(Path(value)).values
        except EndlessYamlError:
            raise
        except ConfigError:
            return  # not what a parser would take for values
        for name in find_code_names(content, {}):
            raise ConfigError(
                f"{value}: {name.key} is {short_line(describe_code(name.value))}, expected a plain "
                "value: a file names no classes or functions, as reading these runs code"
            )


def mentions(sources: Sequence[Source], key: str) -> bool:
    """Whether anything said in Python or on the command line is about an option.

    Example:
        >>> mentions([{"optimizer": {"lr": 1e-3}}, ["--seed=1"]], "optimizer.lr")
        True
    """
    for source in sources:
        if isinstance(source, Mapping):
            keys = list(_dotted(source))
        elif isinstance(source, (str, PathLike)):
            continue
        else:
            words = [word.partition("=")[0] for word in source if word.startswith("--")]
            keys = [word.removeprefix("--").removesuffix("+") for word in words]
        if any(_within(said, key) or _within(key, said) for said in keys):
            return True
    return False


def said_by_hand(sources: Sequence[Source], defaults: Mapping[str, Any]) -> set[str]:
    """The options that were typed, or given in Python with another value than they have anyhow.

    Files are left out: a run's configuration holds every option.

    Args:
        sources: what was said.
        defaults: every option's value, by its place.

    Example:
        >>> sources = [{"seed": 42, "optimizer.lr": 1e-3}, ["--ema", "{decay: 0.9}"]]
        >>> sorted(said_by_hand(sources, {"seed": 42}))
        ['ema.decay', 'optimizer.lr']
    """
    said: set[str] = set()
    for source in sources:
        if isinstance(source, Mapping):
            said |= {key for key, value in _leaves(source) if value != defaults.get(key, ...)}
        elif not isinstance(source, (str, PathLike)):
            for word, following in itertools.zip_longest(source, source[1:], fillvalue=""):
                name, equals, value = word.partition("=")
                if name.startswith("--"):
                    option = name.removeprefix("--").removesuffix("+")
                    values = load_text(value if equals else following)
                    whole = isinstance(values, Mapping)
                    said |= set(_dotted(values, f"{option}.")) if whole else {option}
    return said


def _within(inner: str, outer: str) -> bool:
    return f"{inner}.".startswith(f"{outer}.")


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + str(key), value


def _dotted(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    return (key for key, _ in _leaves(values, prefix))


def short_line(text: str) -> str:
    """A text in one line of at most about 200 characters."""
    line = one_line(text)
    return line if len(line) <= 200 else line[:200].rstrip() + " ..."


def _nested(option: str, values: Mapping[str, Any]) -> dict[str, Any]:
    for key in reversed(option.split(".")):
        values = {key: values}
    return dict(values)


def _is_file(name: str) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return Path(name).is_file()
    return False
