"""What a safetensors file of this package says about itself, in its header."""

import json
import os
from typing import Any

from safetensors import safe_open

__all__ = ["DEFAULT_TASK", "METADATA_KEY", "read_record", "record_of"]

METADATA_KEY = "spanetv2"
DEFAULT_TASK = "classification"
"""What a record that names no task is of: a network as timm's interface has it, with a classifier
or without, and its names. Such files are the only ones that ``models`` makes networks of; every
other file holds the names of its task's model, which that task loads."""


def record_of(metadata: dict[str, str] | None) -> dict[str, Any]:
    """The record in a file's metadata, empty where another program wrote the file.

    Example:
        >>> record_of({"format": "pt", "spanetv2": '{"model_name": "spanetv2_pico_pure"}'})
        {'model_name': 'spanetv2_pico_pure'}
    """
    text = (metadata or {}).get(METADATA_KEY)
    return {} if text is None else json.loads(text)


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of a safetensors file; its tensors stay on disk.

    Raises:
        SafetensorError: truncated, or not such a file.
        OSError: it cannot be read.
    """
    with safe_open(path, framework="pt", device="cpu") as file:
        return record_of(file.metadata())
