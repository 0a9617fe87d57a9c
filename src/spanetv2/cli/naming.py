"""What the name of a model means on the command line, and what a report calls it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spanetv2.models.weights.read import Checkpoint

__all__ = ["find_checkpoint", "short_titles"]

_WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")


def find_checkpoint(name: str) -> "Checkpoint | None":
    """The checkpoint that a name stands for; None for the name of a model."""
    from spanetv2.models.weights.read import read_checkpoint
    from spanetv2.models.weights.shipped import find_shipped

    # timm's names have dots too (convnext_atto.d2_in1k)
    is_file = Path(name).exists() or Path(name).suffix in _WEIGHTS or "/" in name
    return read_checkpoint(name) if is_file or find_shipped(name) is not None else None


def short_titles(names: Sequence[str]) -> list[str]:
    """Short names for a report: the last part of a path, as long as that tells them apart."""
    short = [Path(name).name if Path(name).exists() else name for name in names]
    return short if len(set(short)) == len(short) else list(names)
