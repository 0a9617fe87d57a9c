"""The rows of a part as they come: CSV files that a stopped part goes on from."""

import json
from pathlib import Path
from typing import Any

from spanetv2.errors import UserError
from spanetv2.files import write_json
from studies.mixers.results import Record, read_table, write_table

__all__ = ["Record", "Store"]

RUNS = "runs"
_ABOUT = "about.json"


class Store:
    """The tables of one part in a folder.

    A run's other tables are written before its line in ``runs.csv``, each file atomically; lines
    of other tables without that line are left over from a killed run and are dropped on reading.

    Args:
        folder: of the part.
        keys: columns that tell the part's conditions apart.
    """

    def __init__(self, folder: Path, keys: tuple[str, ...]) -> None:
        self.folder, self.keys = folder, (*keys, "seed")
        self.about: dict[str, Any] = {}
        self.tables: dict[str, list[Record]] = {RUNS: []}
        if (folder / _ABOUT).is_file():
            self.about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        for path in sorted(folder.glob("*.csv")):
            self.tables[path.stem] = _as_keys(read_table(path), self.keys)
        known = {self.key(run) for run in self.runs}
        for name, rows in self.tables.items():
            self.tables[name] = [row for row in rows if self.key(row) in known]

    @property
    def runs(self) -> list[Record]:
        """One line per run: its condition, seed, recipe and figures."""
        return self.tables[RUNS]

    def key(self, row: Record) -> tuple[Any, ...]:
        """What tells a run apart.

        Raises:
            UserError: a table of another part.
        """
        try:
            return tuple(row[name] for name in self.keys)
        except KeyError as error:
            raise UserError(
                f"{self.folder}: tables without a column {error.args[0]}, expected those of this "
                "part; choose another folder with --out"
            ) from None

    def has(self, condition: Record, seed: int) -> bool:
        """Whether the run is there."""
        wanted = self.key({**condition, "seed": seed})
        return any(self.key(run) == wanted for run in self.runs)

    def add(self, tables: dict[str, list[Record]]) -> None:
        """Keep what a run gave; ``runs`` becomes true last."""
        for name in sorted(tables, key=lambda name: name == RUNS):
            rows = self.tables.setdefault(name, [])
            rows += tables[name]
            if rows:
                write_table(self.folder / f"{name}.csv", rows)

    def keep_about(self, facts: dict[str, Any]) -> None:
        """Write what the part's runs share; a first writer's facts stay.

        Raises:
            UserError: runs with other settings are there.
        """
        for name, value in facts.get("settings", {}).items():
            known = self.about.get("settings", {}).get(name, value)
            if known != value:
                raise UserError(
                    f"{self.folder} holds runs with {name} {known}, got {value}; choose another "
                    "folder with --out"
                )
        commits = sorted({*self.about.get("commits", []), *facts.pop("commits", [])})
        self.about = {**facts, **self.about, "commits": commits}
        write_json(self.folder / _ABOUT, self.about)


def _as_keys(rows: list[Record], keys: tuple[str, ...]) -> list[Record]:
    """Conditions are words, but for the seed: a rate is read as it was written."""
    words = [name for name in keys if name != "seed"]
    return [{**row, **{name: str(row[name]) for name in words if name in row}} for row in rows]
