"""The page's tables and pictures, from the CSV files of the parts alone."""

from pathlib import Path

from spanetv2.drawing import save_figure
from spanetv2.errors import UserError
from spanetv2.files import write_text
from spanetv2.table import Table
from studies.evidence.judge import claims_table, judge
from studies.evidence.part import Part, Tables
from studies.evidence.parts import PARTS
from studies.evidence.scale import find_scale
from studies.evidence.store import Store

__all__ = ["read_parts", "report", "write_report"]

Read = dict[str, tuple[Part, Tables, Store]]


def read_parts(folder: Path) -> Read:
    """The parts that have runs.

    Raises:
        UserError: none has.
    """
    found: Read = {}
    for name, part in PARTS.items():
        store = Store(folder / name, part.keys)
        if store.runs:
            _arrange(part, store)
            found[name] = (part, store.tables, store)
    if not found:
        raise UserError(
            f"{folder}: no part with runs, expected folders {', '.join(PARTS)} with runs.csv"
        )
    return found


def _arrange(part: Part, store: Store) -> None:
    """The order of the conditions and seeds, whichever run was done first."""
    conditions = part.conditions(find_scale(store.about["settings"]["scale"]))
    places = {tuple(one[key] for key in part.keys): place for place, one in enumerate(conditions)}
    for rows in store.tables.values():
        rows.sort(key=lambda row: (places.get(store.key(row)[:-1], len(places)), row["seed"]))


def report(read: Read) -> list[Table]:
    """All tables; those of a part that is not finished say so, and how far it is."""
    made = []
    for part, tables, store in read.values():
        done, whole = len(store.runs), store.about["runs"]
        settings = store.about["settings"]
        state = f"{done} runs" if done >= whole else f"partial: {done} of {whole} runs"
        for table in part.tables(tables):
            title = f"{table.title} ({settings['scale']}, {settings['updates']} updates, {state})"
            made.append(table._replace(title=title))
    verdicts = judge(
        {
            name: (part, tables, len(store.runs) >= store.about["runs"])
            for name, (part, tables, store) in read.items()
        }
    )
    return [*made, claims_table(verdicts)] if verdicts else made


def write_report(folder: Path, out: Path) -> list[Path]:
    """Write ``tables.md`` and the pictures, ``evidence_SCALE_PART.png``."""
    read = read_parts(folder)
    write_text(out / "tables.md", "\n".join(table.markdown() for table in report(read)))
    pictures = []
    for name, (part, tables, store) in read.items():
        if (figure := part.draw(tables)) is not None:
            scale = store.about["settings"]["scale"]
            pictures.append(save_figure(figure, out / f"evidence_{scale}_{name}.png"))
    return [out / "tables.md", *pictures]
