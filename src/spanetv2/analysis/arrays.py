"""Arrays whose axes have names and coordinates, and the files they are written to."""

import csv
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spanetv2.errors import UserError
from spanetv2.files import atomic_path

__all__ = ["Gap", "NamedArray", "write_csv"]


@dataclass(frozen=True, eq=False)
class NamedArray:
    """Values over named axes.

    Args:
        values: any number of axes.
        dims: one name per axis.
        coords: for each axis the values along it (numbers or names), as many as the axis is long.
        unit: what the values are measured in, "" for plain numbers.

    Raises:
        UserError: names or coordinates that do not fit the values.

    Example:
        >>> gain = NamedArray(np.array([1.0, 0.5]), ("radius",), {"radius": [0.0, 3.1]})
        >>> gain.to_dict()["values"]
        [1.0, 0.5]
    """

    values: np.ndarray
    dims: tuple[str, ...]
    coords: Mapping[str, Sequence[Any]]
    unit: str = ""

    def __post_init__(self) -> None:
        if len(set(self.dims)) != self.values.ndim:
            raise UserError(
                f"got axes {self.dims} for an array of shape {self.values.shape}, expected one "
                "name of its own per axis"
            )
        for name, length in zip(self.dims, self.values.shape, strict=True):
            if len(self.coords.get(name, ())) != length:
                found = len(self.coords.get(name, ()))
                raise UserError(f"got {found} coordinates for axis {name!r} of length {length}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; not-a-number, which JSON lacks, becomes null."""
        values = self.values.astype(object)
        if np.issubdtype(self.values.dtype, np.floating):
            values[~np.isfinite(self.values)] = None
        coords = {name: np.asarray(self.coords[name]).tolist() for name in self.dims}
        return {
            "dims": list(self.dims),
            "coords": coords,
            "unit": self.unit,
            "values": values.tolist(),
        }

    def rows(self) -> Iterator[list[Any]]:
        """One row per value: its coordinates, then the value."""
        axes = [np.asarray(self.coords[name]).tolist() for name in self.dims]
        for place, item in zip(itertools.product(*axes), self.values.ravel().tolist(), strict=True):
            yield [*place, item]


def write_csv(
    path: str | os.PathLike[str],
    arrays: Mapping[tuple[str, ...], NamedArray],
    *,
    keys: Sequence[str] = (),
    value: str = "value",
) -> None:
    """Write arrays of the same axes below each other, atomically.

    Args:
        path: the file.
        arrays: each under the values of its key columns.
        keys: titles of the key columns, which come first.
        value: title of the last column.

    Raises:
        UserError: no arrays, arrays of different axes, or keys that do not fit.
    """
    kinds = {array.dims for array in arrays.values()}
    if len(kinds) != 1 or any(len(key) != len(keys) for key in arrays):
        raise UserError(f"got {len(arrays)} arrays of axes {sorted(kinds)}, expected equal ones")
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        table = csv.writer(stream, lineterminator="\n")
        table.writerow([*keys, *kinds.pop(), value])
        for key, array in arrays.items():
            table.writerows([*key, *row] for row in array.rows())


@dataclass(frozen=True)
class Gap:
    """A part of an analysis that could not be made, and why."""

    part: str
    """What is missing, such as "filtered accuracy" or a module's name."""
    reason: str
    """One sentence."""
