"""What exported networks spend their time on, and what int8 costs: tables of committed results."""

import json
from pathlib import Path
from typing import Any

from spanetv2.table import Table

__all__ = ["accuracy_table", "profile_table"]

_RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
_RUNTIMES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def profile_table() -> Table:
    """Milliseconds a run by kind of operator; ``python -m benchmarks.profile_exported``."""
    record = _read("profile/cpu_exported.json")
    kinds = list(dict.fromkeys(kind for row in record["rows"] for kind in row["kinds_ms"]))
    body = [
        [
            row["network"],
            _RUNTIMES[row["runtime"]],
            *(f"{row['kinds_ms'].get(kind, 0):.0f}" for kind in kinds),
        ]
        for row in record["rows"]
    ]
    return Table(
        f"Where exported networks spend their time (ms, {_where(record)})",
        ["network", "runtime", *kinds],
        body,
    )


def accuracy_table() -> Table:
    """Accuracy of the classifier in the package; ``python -m benchmarks.quantized``."""
    record = _read("int8/cpu.json")
    body = [
        [
            row["dtype"],
            _RUNTIMES[row["runtime"]],
            f"{100 * row['top1']:.2f} %",
            f"{row['loss']:.4f}",
            f"{row['bytes'] / 1e6:.1f}",
        ]
        for row in record["rows"]
    ]
    title = f"Accuracy in int8 ({record['classifier']}, 10,000 test images, {_where(record)})"
    return Table(title, ["file", "runtime", "top-1", "loss", "MB"], body)


def _read(name: str) -> dict[str, Any]:
    return json.loads((_RESULTS / name).read_text(encoding="utf-8"))


def _where(record: dict[str, Any]) -> str:
    commit = (record["commit"] or "unknown")[:7]
    return f"{record['hardware'].get('kind') or record['hardware']['processor']}, commit {commit}"
