"""The study's numbers as CSV files, one row per thing measured."""

import csv
import io
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from spanetv2.files import write_text
from spanetv2.theory.study import Curve, Study
from spanetv2.theory.study.curves import SCALARS

__all__ = ["write_tables"]

_POINTS = ("connectivity", "scaling", "selectivity", "shape", "padding")


def write_tables(study: Study, folder: str | os.PathLike[str]) -> list[Path]:
    """Write every curve and number of a study into ``folder``, each file atomically.

    ``curves.csv`` holds gain against radial frequency (radians per token), ``mixers.csv`` the
    scalars of each mixer, and the other files what their columns say. A cell without a value is
    empty. Floats have all their digits.

    Returns:
        The files.
    """
    folder = Path(folder)
    tables = {"curves": _curve_rows(study.curves), "mixers": _mixer_rows(study.curves)}
    for name in _POINTS:
        rows = getattr(study, name)
        header = [column.name for column in fields(rows[0])]
        tables[name] = [header, *(list(asdict(row).values()) for row in rows)]
    written = []
    for name, rows in tables.items():
        path = folder / f"{name}.csv"
        write_text(path, _csv(rows))
        written.append(path)
    return written


def _curve_rows(curves: Sequence[Curve]) -> list[list[Any]]:
    rows: list[list[Any]] = [
        ["mixer", "window", "draws", "radius", "gain", "percentile_10", "percentile_90", "law"]
    ]
    for curve in curves:
        about = [curve.mixer, curve.window, curve.draws]
        for i, radius in enumerate(curve.radius):
            law = None if curve.law is None else curve.law[i]
            rows.append([*about, radius, curve.gain[i], curve.low[i], curve.high[i], law])
    return rows


def _mixer_rows(curves: Sequence[Curve]) -> list[list[Any]]:
    names = [*SCALARS, "leakage"]
    rows: list[list[Any]] = [["mixer", "window", "draws", *names]]
    for curve in curves:
        about = [curve.mixer, curve.window, curve.draws]
        rows.append([*about, *(curve.scalars[name] for name in names)])
    return rows


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    for row in rows:
        writer.writerow([_cell(value) for value in row])
    return stream.getvalue()


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)
