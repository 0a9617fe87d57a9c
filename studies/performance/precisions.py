"""What bfloat16 gains and costs on the processors measured: the table behind ``--dtype auto``."""

from spanetv2.precision import judge, measured_processors
from spanetv2.table import Table

__all__ = ["precision_table"]


def precision_table() -> Table:
    """A row per processor, network and batch, with what ``--dtype auto`` takes."""
    header = ["processor", "network", "batch", "float32 (ms)", "bfloat16 (ms)", "speed / float32"]
    header += ["auto", "top-1 of the classifier: float32", "bfloat16", "commit"]
    rows = []
    for kind, row in measured_processors().items():
        for cell in row["networks"]:
            rows.append(
                [
                    kind,
                    cell["model"],
                    str(cell["batch"]),
                    f"{1000 * cell['float32_s']:.1f}",
                    f"{1000 * cell['bfloat16_s']:.1f}",
                    f"{cell['gain']:.2f}",
                    judge(row, cell["parameters"]).name,
                    *(f"{100 * row['top1'][name]:.2f} %" for name in ("float32", "bfloat16")),
                    (row["commit"] or "unknown")[:7],
                ]
            )
    return Table("bfloat16 by processor", header, rows)
