"""Tables of what ``benchmarks/gpu_parity.py`` and ``benchmarks/gpu_features.py`` measured."""

from typing import Any

from spanetv2.benchmark.tables import describe_machine
from spanetv2.table import Table

__all__ = ["OTHER_KINDS", "other_table"]

Record = dict[str, Any]


def other_table(record: Record) -> Table:
    """The table of a record of ``OTHER_KINDS``, with the card and the commit in its title."""
    make = OTHER_KINDS[record["kind"]]
    what, header, rows = make(record)
    commit = (record["commit"] or "unknown")[:7]
    return Table(f"{describe_machine(record)}: {what} (commit {commit})", header, rows)


def _parity(record: Record) -> tuple[str, list[str], list[list[str]]]:
    worst: dict[tuple[str, str], float] = {}
    for row in record["rows"]:
        key = row["implementation"], row["dtype"]
        worst[key] = max(worst.get(key, 0.0), row["error"])
    header = ["implementation", "golden values, float32: worst error", "logits, bfloat16: worst"]
    names = dict.fromkeys(name for name, _ in worst)
    kinds = ("float32", "bfloat16")
    rows = [[name, *(f"{worst.get((name, k), float('nan')):.1e}" for k in kinds)] for name in names]
    return "parity", header, rows


def _features(record: Record) -> tuple[str, list[str], list[list[str]]]:
    height, width = record["settings"]["size"]
    header = ["pass", "mode", "model", "batch", "ms", "speed / convformer_s18", "memory (MiB)"]
    rows = [
        [
            *(row["work"], row["mode"], row["model"], str(row["batch"])),
            f"{1000 * row['median_s']:.1f}",
            f"{row['speed_ratio']:.2f}",
            "" if row["memory_mib"] is None else f"{row['memory_mib']:.0f}",
        ]
        for row in record["cells"]
    ]
    return f"maps of four stages, {height} x {width}, {record['settings']['dtype']}", header, rows


OTHER_KINDS = {"parity": _parity, "features": _features}
"""Kinds of records beside those of ``spanetv2 benchmark``, and what reads them."""
