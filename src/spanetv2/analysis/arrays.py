"""Arrays whose axes have names and coordinates, and the files they are written to."""

import csv
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spanetv2.errors import UserError
from spanetv2.files import atomic_path

__all__ = ["Gap", "NamedArray"]


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

    def to_csv(self, path: str | os.PathLike[str], *, value: str = "value") -> None:
        """Write one row per value: its coordinates, then the value; atomically."""
        with (
            atomic_path(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as stream,
        ):
            table = csv.writer(stream, lineterminator="\n")
            table.writerow([*self.dims, value])
            axes = [np.asarray(self.coords[name]).tolist() for name in self.dims]
            for place, item in zip(itertools.product(*axes), self.values.flat, strict=True):
                table.writerow([*place, item])


@dataclass(frozen=True)
class Gap:
    """A part of an analysis that could not be made, and why."""

    part: str
    """What is missing, such as "filtered accuracy" or a module's name."""
    reason: str
    """One sentence."""
