"""The small trained models that come with the package.

``spanetv2/weights/NAME.safetensors`` is all that makes one, where NAME is a variant and a tag:
``spanetv2_pico_pure.fashion_mnist``. What it was trained on and what it reaches is in the file's
record, and for readers in ``NAME.md`` beside it.
"""

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from spanetv2.errors import UserError
from spanetv2.models.variants import PREFIX, VARIANTS
from spanetv2.models.weights.record import DEFAULT_TASK, read_record

__all__ = ["ShippedWeights", "find_shipped", "shipped_weights", "shipped_with"]

_FOLDER = Path(__file__).resolve().parents[2] / "weights"
# What follows the last dot of a file of weights; no tag has these names.
_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")


@dataclass(frozen=True, kw_only=True)
class ShippedWeights:
    """A trained model in the package."""

    name: str
    """variant and tag, such as spanetv2_pico_pure.fashion_mnist"""
    path: Path
    """the safetensors file"""
    record: Mapping[str, Any]
    """what the file says: see ``Checkpoint``"""

    @property
    def variant(self) -> str:
        """Name of the architecture."""
        return self.name.partition(".")[0]

    @property
    def tag(self) -> str:
        """What tells it from other weights of the same architecture."""
        return self.name.partition(".")[2]

    @property
    def task(self) -> str:
        """What kind of model it is; see ``Checkpoint``."""
        return self.record.get("task", DEFAULT_TASK)

    @property
    def card(self) -> Path:
        """The text about it: data, recipe, accuracy, limits."""
        return self.path.with_suffix(".md")


@functools.cache
def shipped_weights() -> Mapping[str, ShippedWeights]:
    """Every trained model in the package by its name, in alphabetical order.

    Example:
        >>> shipped_weights()["spanetv2_pico_pure.fashion_mnist"].task
        'classification'
    """
    found: dict[str, ShippedWeights] = {}
    for path in sorted(_FOLDER.glob("*.safetensors")):
        try:
            record = read_record(path)
        except (SafetensorError, OSError, UserError):
            continue  # a damaged installation, which is no reason that nothing works
        name = path.name.removesuffix(".safetensors")
        found[name] = ShippedWeights(name=name, path=path, record=record)
    return found


def find_shipped(name: str | os.PathLike[str]) -> ShippedWeights | None:
    """The weights in the package that a name stands for.

    Args:
        name: what may be such a name, with or without ``spanetv2_``, or a path.

    Returns:
        The weights; None where this is not a variant and a tag.

    Raises:
        UserError: a variant and a tag, but there are no such weights; the message lists them.

    Example:
        >>> find_shipped("pico_pure.fashion_mnist").name
        'spanetv2_pico_pure.fashion_mnist'
        >>> find_shipped("resnet18.a1_in1k") is None
        True
    """
    text = os.fspath(name)
    variant, dot, tag = text.partition(".")
    variant = variant if variant in VARIANTS else PREFIX + variant
    if not (dot and variant in VARIANTS) or PurePath(text).suffix in _SUFFIXES:
        return None
    found = shipped_weights().get(f"{variant}.{tag}")
    if found is None:
        raise UserError(
            f"got {text}, expected a file or weights in the package: {', '.join(shipped_weights())}"
        )
    return found


def shipped_with(state: Mapping[str, Tensor]) -> ShippedWeights | None:
    """The classifier in the package that has exactly these weights: its record is theirs too.

    Files are compared by their headers first, so that other networks cost nothing.

    Args:
        state: name -> tensor, on the CPU, with this package's names.
    """
    shapes = {name: list(value.shape) for name, value in state.items()}
    for weights in shipped_weights().values():
        if weights.task != DEFAULT_TASK:
            continue
        with safe_open(weights.path, framework="pt", device="cpu") as file:
            names = list(file.keys())
            if len(names) != len(shapes) or any(
                name not in shapes or file.get_slice(name).get_shape() != shapes[name]
                for name in names
            ):
                continue
            if all(torch.equal(file.get_tensor(n).to(state[n].dtype), state[n]) for n in names):
                return weights
    return None
