"""Many small JSON values in one piece of memory."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

__all__ = ["PackedJson"]


class PackedJson:
    """A list of JSON values that costs its text and eight bytes each.

    A list of a million Python objects takes gigabytes and is copied page by page into every worker
    process, because reading one touches its reference count; this is not.

    Args:
        values: anything that ``json`` can write.

    Example:
        >>> packed = PackedJson([[1, 2], {"a": 3}])
        >>> len(packed), packed[1]
        (2, {'a': 3})
    """

    def __init__(self, values: Iterable[Any]):
        parts = [json.dumps(value, separators=(",", ":")).encode() for value in values]
        self._ends = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        self._text = b"".join(parts)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> Any:
        return json.loads(self._text[self._ends[index] : self._ends[index + 1]])
