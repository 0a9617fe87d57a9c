"""Named arrays check their axes and are written without loss."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from spanetv2.analysis.arrays import NamedArray, write_csv
from spanetv2.errors import UserError


def test_write_csv_has_a_row_per_value(tmp_path: Path) -> None:
    values = np.array([[0.1, 1 / 3], [2.0, np.nan]])
    array = NamedArray(values, ("head", "radius"), {"head": ["3x3", "5x5"], "radius": [0.0, 3.1]})
    other = NamedArray(values[:1] + 1, array.dims, {"head": ["7x7"], "radius": [0.0, 3.1]})
    write_csv(tmp_path / "a.csv", {("one",): array, ("two",): other}, keys=["part"], value="gain")
    with (tmp_path / "a.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(r["part"], r["head"], float(r["radius"])) for r in rows[1:5]] == [
        ("one", "3x3", 3.1),
        ("one", "5x5", 0.0),
        ("one", "5x5", 3.1),
        ("two", "7x7", 0.0),
    ]
    expected = [*values.ravel(), *(values[0] + 1)]
    np.testing.assert_array_equal([float(r["gain"]) for r in rows], expected)


def test_write_csv_refuses_arrays_that_do_not_belong_together(tmp_path: Path) -> None:
    array = NamedArray(np.zeros(1), ("a",), {"a": [1]})
    other = NamedArray(np.zeros(1), ("b",), {"b": [1]})
    with pytest.raises(UserError, match="expected equal ones"):
        write_csv(tmp_path / "a.csv", {("x",): array, ("y",): other}, keys=["k"])
    with pytest.raises(UserError, match="expected equal ones"):
        write_csv(tmp_path / "a.csv", {})
    assert not list(tmp_path.iterdir())


def test_to_dict_is_json(tmp_path: Path) -> None:
    array = NamedArray(np.array([1.0, np.inf]), ("a",), {"a": np.array([1, 2])}, "rad")
    found = json.loads(json.dumps(array.to_dict(), allow_nan=False))
    assert found == {"dims": ["a"], "coords": {"a": [1, 2]}, "unit": "rad", "values": [1.0, None]}


def test_axes_must_fit() -> None:
    with pytest.raises(UserError, match="expected one name of its own per axis"):
        NamedArray(np.zeros((2, 2)), ("a", "a"), {"a": [1, 2]})
    with pytest.raises(UserError, match="got 1 coordinates for axis 'a' of length 2"):
        NamedArray(np.zeros(2), ("a",), {"a": [1]})
