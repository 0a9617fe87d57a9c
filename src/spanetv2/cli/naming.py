"""What the name of a model means on the command line, and what a report calls it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spanetv2.models.weights.read import Checkpoint

__all__ = ["MODEL_HELP", "find_checkpoint", "short_titles"]

MODEL_HELP = (
    "A run folder, a checkpoint (.safetensors, the authors' .pth), a name of weights in the "
    "package (see `spanetv2 models`), hf-hub:OWNER/NAME or local-dir:FOLDER (weights of this "
    "package or of timm in the Hub's layout), a timm model, torchvision:NAME, or a folder that "
    "save_pretrained of a transformers model wrote (hf-dir:FOLDER)."
)
"""What a model may be called where any library's are taken."""

_WEIGHTS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")


def find_checkpoint(name: str) -> "Checkpoint | None":
    """The checkpoint that a name stands for; None for a model's name, of any library."""
    from spanetv2.models.other_libraries import is_other
    from spanetv2.models.weights.read import read_checkpoint
    from spanetv2.models.weights.shipped import find_shipped
    from spanetv2.models.weights.source import is_prefixed

    if is_prefixed(name):
        return read_checkpoint(name)
    if is_other(name):
        return None
    # timm's names have dots too (convnext_atto.d2_in1k)
    is_file = Path(name).exists() or Path(name).suffix in _WEIGHTS or "/" in name
    return read_checkpoint(name) if is_file or find_shipped(name) is not None else None


def short_titles(names: Sequence[str]) -> list[str]:
    """Short names for a report: the last part of a path, as long as that tells them apart."""
    from spanetv2.models.other_libraries import HF_FOLDER
    from spanetv2.models.weights.source import is_hub, local_path

    paths = [local_path(name.removeprefix(HF_FOLDER)) or Path(name) for name in names]
    short = [
        path.name if is_hub(name) or path.exists() else name
        for path, name in zip(paths, names, strict=True)
    ]
    return short if len(set(short)) == len(short) else list(names)
