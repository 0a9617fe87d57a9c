"""Many names in one piece of memory."""

import os
from collections.abc import Sequence

import numpy as np

__all__ = ["PackedNames"]


class PackedNames:
    """Many strings as one bytes object and an array of offsets.

    A list of a million Python strings is copied page by page into every worker process, because
    reading one touches its reference count; this is not.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._parts: list[bytes] = [os.fsencode(name) for name in names]
        self._text = b""
        self._ends = np.zeros(1, dtype=np.int64)

    def append(self, name: str) -> None:
        self._parts.append(os.fsencode(name))

    def freeze(self) -> "PackedNames":
        self._ends = np.cumsum([0, *map(len, self._parts)], dtype=np.int64)
        self._text = b"".join(self._parts)
        self._parts = []
        return self

    def __len__(self) -> int:
        return len(self._parts) or len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        return os.fsdecode(self._text[self._ends[index] : self._ends[index + 1]])
