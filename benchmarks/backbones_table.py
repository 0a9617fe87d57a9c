"""The page made from the results of backbones.py."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spanetv2.files import write_text

__all__ = ["write_page"]

HEAD = """# Benchmarks

<!-- Made by `python benchmarks/backbones.py table`; change the program, not this page. -->

Whole backbones with a 1000-class head and random weights, side by side with timm's of about the
same size. All models run in one process and take turns in every round, in an order that rotates.
Times are medians over the rounds; *ratio* is the median over the rounds of the time divided by
that of the reference model in the same round, so that a slow moment of the machine counts for both;
below 1 is faster than the reference. *Spread* is the range of the middle half of the rounds, in
percent of the median. *Memory* is the peak of a step beyond weights and images.

Speed depends on the machine and on the shape: these figures compare models on the machine named,
and are no promise for another.
"""


def write_page(results: Sequence[Path], out: Path) -> None:
    """Write the page of all ``results`` (JSON files of backbones.py) to ``out``."""
    parts = [HEAD]
    for path in results:
        parts += _section(json.loads(path.read_text(encoding="utf-8")), source=path)
    write_text(out, "\n".join(parts))


def _section(result: dict[str, Any], *, source: Path) -> list[str]:
    hardware, settings, packages = result["hardware"], result["settings"], result["packages"]
    on_gpu = settings["device"].startswith("cuda")
    machine = hardware["gpus"][0] if on_gpu else hardware["processor"]
    layout = ", channels last" if settings["channels_last"] else ""
    precision = settings["dtype"]
    if on_gpu and settings["matmul_precision"] != "highest":
        precision += f" (matrix products: {settings['matmul_precision']})"
    lines = [
        f"## {machine}",
        "",
        f"Batch {settings['batch']}, {settings['size']} x {settings['size']} pixels, {precision}"
        f"{layout}, {settings['rounds']} rounds after {settings['warmup']} for warming up; "
        f"reference {settings['reference']}.",
        "",
    ]
    for condition in result["conditions"]:
        lines += [f"### {condition['mode']}, {condition['pass']}", "", *_table(condition["models"])]
    threads = "" if on_gpu else f", {hardware['threads']} thread{'s' * (hardware['threads'] > 1)}"
    lines += [
        f"Measured {result['started'][:10]} on {machine}{threads}, {hardware['cores']} cores; "
        f"Python {result['python']}, torch {packages['torch']}, timm {packages['timm']}, spanetv2 "
        f"{packages['spanetv2']} at commit `{result['commit']}`. All times of all rounds: "
        f"`{source.as_posix()}`. Command:",
        "",
        "```sh",
        result["command"],
        "```",
        "",
    ]
    return lines


def _table(models: dict[str, dict[str, Any]]) -> list[str]:
    with_memory = any("memory_mib" in row for row in models.values())
    head = ["model", "params (M)", "ms", "images/s", "ratio", "spread"]
    head += ["memory (MiB)"] if with_memory else []
    lines = ["| " + " | ".join(head) + " |", "|---|" + "--:|" * (len(head) - 1)]
    for name, row in models.items():
        low, high = row["quartiles_s"]
        cells = [
            name,
            f"{row['parameters'] / 1e6:.1f}",
            f"{1000 * row['median_s']:.1f}",
            f"{row['images_per_second']:.1f}",
            f"{row['ratio']:.2f}" if "ratio" in row else "",
            f"{100 * (high - low) / row['median_s']:.0f} %",
        ]
        cells += [f"{row['memory_mib']:.0f}"] if "memory_mib" in row else []
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]
