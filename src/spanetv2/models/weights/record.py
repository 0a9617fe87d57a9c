"""What a file of weights says about itself: a record, held against a schema before it is believed.

A record is data. It names a network of ours or of timm's and the options that shape it; it can
name no file, no address and no code, and so nothing that is read leads anywhere else.
"""

import inspect
import json
import os
import re
import typing
from collections.abc import Mapping
from typing import Any

from safetensors import safe_open

from spanetv2.errors import UserError
from spanetv2.models.backbone import SPANetV2
from spanetv2.models.variants import VARIANTS
from spanetv2.schema import check_value, plain_fault

__all__ = [
    "DEFAULT_TASK",
    "METADATA_KEY",
    "NO_SOURCE",
    "check_model_options",
    "check_record",
    "names_source",
    "parse_record",
    "read_record",
]

METADATA_KEY = "spanetv2"
DEFAULT_TASK = "classification"
"""What a record that names no task is of: a network as timm's interface has it, with a classifier
or without, and its names. Such files are the only ones that ``models`` makes networks of; every
other file holds the names of its task's model, which that task loads."""

NO_SOURCE = (
    "expected options that shape the network: a file names no other file or address to take "
    "weights from"
)
"""How the refusal of an option goes on for which ``names_source`` is true."""

_FIELDS = {
    "task": str,
    "model_name": str | None,
    "model_kwargs": dict[str, Any],
    "classes": list[str] | None,
    "preprocessing": dict[str, Any] | None,
    "extra": dict[str, Any],
}
_LONGEST = 2**24  # characters of a record; names of 100,000 classes are a tenth of it
_PREPROCESSING = {
    "input_size": tuple[int, int, int],
    "size": tuple[int, int] | None,
    "channels": int,
    "mean": tuple[float, ...],
    "std": tuple[float, ...],
    "interpolation": str,
    "crop_pct": float,
    "crop_mode": str,
    "white": int | None,
}

# What only Python can give: where tensors lie, and classes of mixers.
_OF_PYTHON = ("device", "dtype")
_MIXERS = list[str | dict[str, Any]]
_OURS = {
    name: hint
    for name, hint in typing.get_type_hints(SPANetV2.__init__).items()
    if name in inspect.signature(SPANetV2.__init__).parameters and name not in _OF_PYTHON
} | {"mixers": _MIXERS, "out_indices": list[int]}
# What timm's functions take a file or an address by, or a class instead of a number.
_SOURCES = re.compile(
    r"pretrained.*|checkpoint.*|(?!.*drop_path)(.*_)?(path|url|uri|file|filename|dir|repo|hub)(_.*)?"
    r"|source|state_dict|pruned|features_only|feature_cls|scriptable|exportable|no_jit|device|dtype"
)
_LARGEST = {"num_classes": 1_000_000}
_LARGEST_OTHER = 65_536


def parse_record(text: str | None) -> dict[str, Any]:
    """The record that a file's metadata hold, empty where another program wrote the file.

    Returns:
        task, model_name, model_kwargs, classes, preprocessing, extra, as far as they are there.

    Raises:
        UserError: something else than a record.

    Example:
        >>> parse_record('{"model_name": "spanetv2_pico_pure"}')
        {'model_name': 'spanetv2_pico_pure'}
        >>> parse_record('{"classes": "cat"}')
        Traceback (most recent call last):
        spanetv2.errors.UserError: its record is wrong: classes is 'cat', expected a list, each a \
text or null
    """
    if text is None:
        return {}
    try:
        if len(text) > _LONGEST:
            raise UserError(f"{len(text):,} characters, expected at most {_LONGEST:,}")
        return check_record(json.loads(text))
    except UserError as error:
        raise UserError(f"its record is wrong: {error}") from None
    except (ValueError, RecursionError):
        raise UserError("its record is wrong: it is not JSON") from None


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of a safetensors file; its tensors stay on disk.

    Raises:
        SafetensorError: truncated, or not such a file.
        OSError: it cannot be read.
        UserError: its record is wrong.
    """
    with safe_open(path, framework="pt", device="cpu") as file:
        return parse_record((file.metadata() or {}).get(METADATA_KEY))


def check_model_options(name: str | None, options: Mapping[str, Any]) -> None:
    """Refuse options of a network that do not shape it, as files may give them.

    Args:
        name: of the network; None is one of ours.
        options: arguments of ``create_model``.

    Raises:
        UserError: an option that our networks do not have; one by which timm would fetch or open
            something; a value of another type, or out of range.

    Example:
        >>> check_model_options("resnet18", {"checkpoint_path": "/etc/passwd"})
        Traceback (most recent call last):
        spanetv2.errors.UserError: model_kwargs has 'checkpoint_path', expected options that shape \
the network: a file names no other file or address to take weights from
    """
    ours = name is None or name.partition(".")[0] in VARIANTS
    for key, value in options.items():
        if ours and key not in _OURS:
            known = ", ".join(sorted(_OURS))
            raise UserError(f"model_kwargs has {key!r}, expected some of {known}")
        if not ours and names_source(key):
            raise UserError(f"model_kwargs has {key!r}, {NO_SOURCE}")
        if ours:
            check_value(f"model_kwargs.{key}", value, _OURS[key])
        if (fault := plain_fault(value)) is not None:
            raise UserError(f"model_kwargs.{key} holds {fault}")
        _check_range(key, key, value)


def names_source(option: str) -> bool:
    """Whether timm takes a file, an address or code by an option of a network.

    Example:
        >>> names_source("pretrained_cfg"), names_source("drop_path_rate")
        (True, False)
    """
    return _SOURCES.fullmatch(option.lower()) is not None


def _check_range(key: str, place: str, value: Any) -> None:
    if isinstance(value, Mapping):
        for inner, item in value.items():
            _check_range(inner, f"{place}.{inner}", item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check_range(key, place, item)
    elif isinstance(value, int) and not isinstance(value, bool):
        most = _LARGEST.get(key, _LARGEST_OTHER)
        if abs(value) > most:
            raise UserError(f"model_kwargs.{place} is {value}, expected at most {most:,}")


def check_record(record: Any) -> dict[str, Any]:
    """Hold a record against the schema.

    Returns:
        Its known fields.

    Raises:
        UserError: a field of another type, a value out of range, names of another number of classes
            than the network has, or an option that ``check_model_options`` refuses.
    """
    check_value("it", record, dict[str, Any])
    known = {key: record[key] for key in _FIELDS if key in record}
    for key, value in known.items():
        check_value(key, value, _FIELDS[key])
    images = known.get("preprocessing") or {}
    for key, value in images.items():
        if key in _PREPROCESSING:  # others are refused where images are made
            check_value(f"preprocessing.{key}", value, _PREPROCESSING[key])
    options = known.get("model_kwargs", {})
    check_model_options(known.get("model_name"), options)
    classes, number = known.get("classes"), options.get("num_classes")
    if classes is not None and number is not None and len(classes) != number:
        raise UserError(f"{len(classes)} class names of {number} classes")
    return known
