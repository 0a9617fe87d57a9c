"""Draw the parts of the package and who imports whom, from the source itself.

python scripts/draw_architecture.py docs/images/architecture.png
"""

import argparse
import ast
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from spanetv2.files import atomic_path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "spanetv2"
ABOUT = {
    "cli": "one module per command: signature, call, printing",
    "api": "train, evaluate and predict for Python",
    "hub": "model cards, pushing to the Hugging Face Hub, loading from it",
    "many": "runs in parts: devices, shards, machines, Ray; merging",
    "tasks": "classification, segmentation, detection: a folder each, and their list",
    "training": "the engine: optimiser, schedule, exact resume, checkpoints",
    "explore": "the page that runs a network in the browser",
    "benchmark": "speed and memory, side by side",
    "analysis": "the theory's questions asked of trained models",
    "deploy": "folding for inference, export",
    "scenes": "made scenes: digits on photographs, with masks",
    "data": "images, pre-processing, class names, splits, order, loaders",
    "models": "block, backbone, variants, features, costs, weights",
    "mixers": "SPAM and the mixers beside it",
    "layers": "stem, downsampling, MLP, activations, head",
    "ops": "operators: a readable reference, fast forms, the choice",
    "theory": "graph spectral analysis in float64; imports nothing",
}
INK, SOFT, FILL, EDGE = "#1c1e21", "#5b6470", "#eef3f8", "#9fb3c8"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def order() -> list[str]:
    """Parts from top to bottom, as the import contract in pyproject.toml lists them."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts: list[dict[str, Any]] = config["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    names = [name.strip().removeprefix("spanetv2.") for row in layers for name in row.split("|")]
    return [name for name in [*names, "theory"] if name in ABOUT]


def imports() -> Counter[tuple[str, str]]:
    """(part, part it imports from) -> number of import statements."""
    counts: Counter[tuple[str, str]] = Counter()
    for path in SOURCE.rglob("*.py"):
        part = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("spanetv2."):
                counts[part, str(node.module).split(".")[1]] += 1
    return counts


def lines_of(part: str) -> int:
    """Lines of Python in a part."""
    folder = SOURCE / part
    files = folder.rglob("*.py") if folder.is_dir() else [folder.with_suffix(".py")]
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files)


def draw(path: Path) -> None:
    """Draw boxes in the order of the contract, and an arc for every import between them."""
    parts, counts = order(), imports()
    figure = Figure(figsize=(9.4, 0.56 * len(parts) + 1.0), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 9.4)
    axes.set_ylim(-0.5, len(parts) + 0.6)
    axes.axis("off")
    height = {part: len(parts) - 1 - i for i, part in enumerate(parts)}
    for part, y in height.items():
        box = FancyBboxPatch(
            (0.25, y + 0.1),
            7.0,
            0.72,
            boxstyle="round,pad=0.02,rounding_size=0.06",
            fc=FILL,
            ec=EDGE,
        )
        axes.add_patch(box)
        axes.text(0.45, y + 0.46, part, va="center", size=12, weight="bold", color=INK)
        axes.text(1.75, y + 0.46, ABOUT[part], va="center", size=9.5, color=INK)
        size = f"{lines_of(part):,} lines"
        axes.text(7.1, y + 0.46, size, va="center", ha="right", size=8, color=SOFT)
    for (upper, lower), count in sorted(counts.items()):
        if upper == lower or upper not in height or lower not in height:
            continue
        colour = COLOURS[parts.index(upper) % len(COLOURS)]
        arc = FancyArrowPatch(
            (7.32, height[upper] + 0.38),
            (7.32, height[lower] + 0.54),
            connectionstyle="arc3,rad=-0.45",
            arrowstyle="-|>,head_length=5,head_width=2.5",
            linewidth=0.6 + min(count, 40) / 14,
            color=colour,
            alpha=0.75,
            shrinkA=0,
            shrinkB=0,
        )
        axes.add_patch(arc)
    note = "an arrow: imports from; thicker: more import statements"
    axes.text(0.25, len(parts) + 0.25, note, size=9.5, color=SOFT, va="center")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("path", type=Path, help="the PNG to write")
    draw(parser.parse_args().path)


if __name__ == "__main__":
    main()
