"""What benchmark records say, as tables and sentences."""

from collections.abc import Sequence
from typing import Any

from spanetv2.benchmark.settings import HOWS
from spanetv2.benchmark.timing import speed_ratio
from spanetv2.table import Table

__all__ = ["describe_machine", "describe_settings", "left_out", "mode_title", "tables_of"]

_TITLES = {"onnx": "ONNX Runtime", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
"""Of modes; "onnx" stands in results of 0.2.0 and before."""

Record = dict[str, Any]


def tables_of(record: Record) -> list[Table]:
    """All tables of a record: one per kind of pass, mode and dtype, then the settings compared.

    Args:
        record: of ``run_networks`` or ``run_operators``.
    """
    if record["kind"] == "operators":
        return _operator_tables(record)
    return [*_network_tables(record), *_setting_tables(record)]


def describe_machine(record: Record) -> str:
    """The processor or GPU that was measured."""
    hardware, device = record["hardware"], record["settings"]["device"]
    if not device.startswith("cuda"):
        return hardware["processor"] or hardware["machine"]
    return hardware["gpus"][int(device.partition(":")[2] or 0)]


def mode_title(mode: str) -> str:
    """How a mode is called on pages."""
    return _TITLES.get(mode, mode)


def describe_settings(record: Record) -> str:
    """One sentence about how it was measured."""
    settings, hardware = record["settings"], record["hardware"]
    parts = []
    if settings["device"].startswith("cuda"):
        parts.append(f"matrix products in float32: {settings['matmul_precision']}")
    else:
        threads = hardware["threads"]
        parts.append(f"{threads} thread{'s' * (threads > 1)}, {hardware['cores']} cores")
    if settings["channels_last"]:
        parts.append("channels last")
    if "energy_source" in record:
        parts.append(f"energy of all that ran meanwhile ({record['energy_source']})")
    parts.append(f"{settings['rounds']} rounds after {settings['warmup']} for warming up")
    return "; ".join(parts) + "."


def left_out(record: Record) -> list[str]:
    """What could not be measured, with the reason; one line per network or operator and reason."""
    stages: dict[tuple[str, str], list[int]] = {}
    for row in record.get("left_out", ()):
        found = stages.setdefault((row["model"], row["reason"]), [])
        if row["stage"] is not None and row["stage"] not in found:
            found.append(row["stage"])
    return [
        model + (f" at stage {', '.join(map(str, numbers))}" if numbers else "") + f" ({reason})"
        for (model, reason), numbers in stages.items()
    ]


def _groups(cells: Sequence[Record], *fields: str) -> dict[tuple[Any, ...], list[Record]]:
    found: dict[tuple[Any, ...], list[Record]] = {}
    for row in cells:
        found.setdefault(tuple(row[field] for field in fields), []).append(row)
    return found


def _varies(rows: Sequence[Record], field: str) -> bool:
    return len({row[field] for row in rows}) > 1


def _network_tables(record: Record) -> list[Table]:
    tables = []
    for (work, mode, dtype), rows in _groups(record["cells"], "work", "mode", "dtype").items():
        shaped = _varies(rows, "batch") or _varies(rows, "size")
        sized, with_memory = _varies(rows, "size"), any("memory_mib" in row for row in rows)
        title = f"{work}, {mode_title(mode)}, {dtype}"
        if not shaped:
            title += f", batch {rows[0]['batch']}, {rows[0]['size']} x {rows[0]['size']}"
        header = ["model", *(["batch", "size"] if shaped else ["params (M)"]), "ms", "images/s"]
        header += ["megapixels/s"] if sized else []
        header += [f"speed / {record['settings']['reference']}", "spread"]
        header += ["memory (MiB)"] if with_memory else []
        header += ["MiB/megapixel"] if with_memory and sized else []
        header += ["J/image"] if _has_energy(rows) else []
        body = []
        for model in dict.fromkeys(row["model"] for row in rows):
            for row in sorted(
                (row for row in rows if row["model"] == model),
                key=lambda row: (row["size"], row["batch"]),
            ):
                body.append(_network_row(row, shaped, sized, with_memory))
        tables.append(Table(title, header, body))
    return tables


def _network_row(row: Record, shaped: bool, sized: bool, with_memory: bool) -> list[str]:
    low, high = row["quartiles_s"]
    cells = [row["model"]]
    cells += [str(row["batch"]), str(row["size"])] if shaped else [f"{row['parameters'] / 1e6:.1f}"]
    cells += [f"{1000 * row['median_s']:.1f}", f"{row['images_per_second']:.1f}"]
    cells += [f"{row['megapixels_per_second']:.2f}"] if sized else []
    cells += [f"{row['speed_ratio']:.2f}" if "speed_ratio" in row else ""]
    cells += [f"{100 * (high - low) / row['median_s']:.0f} %"]
    memory = row.get("memory_mib")
    if with_memory:
        cells += ["" if memory is None else f"{memory:.0f}"]
    if with_memory and sized:
        pixels = row["batch"] * row["size"] ** 2 / 1e6
        cells += ["" if memory is None else f"{memory / pixels:.0f}"]
    return cells + _energy([row])


def _has_energy(rows: Sequence[Record]) -> bool:
    return any("joules_per_image" in row for row in rows)


def _energy(rows: Sequence[Record]) -> list[str]:
    return [f"{row['joules_per_image']:.3g}" for row in rows if "joules_per_image" in row]


def _setting_tables(record: Record) -> list[Table]:
    """Where one network was run in several ways: what each way gains."""
    tables = []
    rows = [{**row, "network": _parts(row["model"])[0]} for row in record["cells"]]
    for key, group in _groups(rows, "work", "network", "batch", "size").items():
        if not (_varies(group, "model") or _varies(group, "mode") or _varies(group, "dtype")):
            continue
        work, network, batch, size = key
        base = min(group, key=lambda row: (row["dtype"] != "float32", row["mode"] != "eager"))
        if base["model"] != network:
            continue
        body = [
            [
                _setting_name(row),
                f"{row['images_per_second']:.1f}",
                f"{speed_ratio(row['seconds'], base['seconds']):.2f}",
            ]
            for row in sorted(group, key=lambda row: row["median_s"])
        ]
        title = f"settings of {network}: {work}, batch {batch}, {size} x {size}"
        tables.append(Table(title, ["setting", "images/s", f"speed / {_setting_name(base)}"], body))
    return tables


def _parts(label: str) -> tuple[str, str]:
    """Name and HOW of a label; "onnx" stands in results of 0.2.0 and before."""
    name, found, how = label.rpartition("@")
    return (name, how) if found and how in (*HOWS, "onnx") else (label, "")


def _setting_name(row: Record) -> str:
    how = _parts(row["model"])[1]
    names = {
        "": "",
        "onnx": "",
        "optimized": "optimised, ",
        "reference": "reference path, ",
        "fused_optimized": "fused and optimised, ",
    }
    return names.get(how, f"{how}, ") + f"{mode_title(row['mode'])}, {row['dtype']}"


def _operator_tables(record: Record) -> list[Table]:
    tables = []
    fields = ("work", "mode", "dtype", "batch", "size")
    for (work, mode, dtype, batch, size), rows in _groups(record["cells"], *fields).items():
        header = ["operator", "stage", "channels", "grid", "us", "floor: compute", "memory"]
        header += ["share", f"speed / {record['settings']['reference']}"]
        header += ["J/image"] if _has_energy(rows) else []
        body = [
            [
                row["model"],
                str(row["stage"]),
                str(row["channels"]),
                f"{row['side']} x {row['side']}",
                f"{1e6 * row['median_s']:.0f}",
                f"{1e6 * row['compute_floor_s']:.0f}",
                f"{1e6 * row['memory_floor_s']:.0f}",
                f"{100 * row['floor_share']:.0f} %",
                f"{row['speed_ratio']:.2f}" if "speed_ratio" in row else "",
                *_energy([row]),
            ]
            for row in sorted(rows, key=lambda row: row["stage"])
        ]
        title = f"token mixers, {work}, {mode}, {dtype}, batch {batch}, {size} x {size}"
        tables.append(Table(title, header, body))
    return tables
