"""The precision in which a trained network answers: float32, or bfloat16 where that pays.

On which processors it pays, and from which size of network on, is measured
(``python -m benchmarks.precision`` measures the one it runs on) and kept in ``precision.json``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_map

from spanetv2.environment import processor_instructions, processor_kind
from spanetv2.errors import UserError

__all__ = [
    "MEASURED",
    "PRECISIONS",
    "Precision",
    "choose_precision",
    "compute_in",
    "gain_of",
    "judge",
    "kind_of_row",
    "measured_processors",
]

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
MEASURED = Path(__file__).with_suffix(".json")
"""The measurements, a row per kind of processor."""
_LEAST_GAIN = 1.3
_MOST_POINTS = 0.1
_INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "bf16")


@dataclass(frozen=True)
class Precision:
    """What was chosen.

    Args:
        name: "float32" or "bfloat16".
        reason: why, for people.
    """

    name: str
    reason: str

    @property
    def dtype(self) -> torch.dtype:
        """PyTorch's name of it."""
        return PRECISIONS[self.name]

    @property
    def text(self) -> str:
        """A line that says which was taken."""
        return f"computed in {self.name} ({self.reason})"


def choose_precision(
    name: str,
    device: torch.device,
    *,
    parameters: int,
    supported: Sequence[str] = tuple(PRECISIONS),
) -> Precision:
    """The precision of a name.

    ``auto`` is bfloat16 on processors with its instructions where the largest network measured that
    is no larger than this one ran at least 1.3 times as fast in it as in float32, and the
    classifier in the package lost at most 0.1 points of accuracy; float32 everywhere else.

    Args:
        name: auto, float32 or bfloat16.
        device: where it is computed.
        parameters: of the network.
        supported: what the task can compute in.

    Raises:
        UserError: another name, or a precision that the task cannot compute in.

    Example:
        >>> choose_precision("float32", torch.device("cpu"), parameters=1).text
        'computed in float32 (as asked)'
    """
    if name not in ("auto", *PRECISIONS):
        raise UserError(f"got dtype {name!r}, expected one of auto, {', '.join(PRECISIONS)}")
    if name == "auto":
        return _usual(device, parameters, supported)
    if name not in supported:
        raise UserError(f"got dtype {name!r}, expected {' or '.join(supported)} for this task")
    slow = device.type == "cpu" and name == "bfloat16" and _instruction() is None
    return Precision(name, "as asked, without instructions for it" if slow else "as asked")


def _usual(device: torch.device, parameters: int, supported: Sequence[str]) -> Precision:
    if device.type != "cpu" or "bfloat16" not in supported:
        return Precision("float32", "the usual here")
    if _instruction() is None:
        return Precision("float32", "this processor has no bfloat16 instructions")
    row = measured_processors().get(kind_of_row())
    if row is None:
        return Precision("float32", f"bfloat16 is not measured on {kind_of_row()}")
    return judge(row, parameters)


def judge(row: Mapping[str, Any], parameters: int) -> Precision:
    """The precision that a processor's measurements speak for.

    Args:
        row: of ``measured_processors``.
        parameters: of the network.
    """
    gain = gain_of(row, parameters)
    if gain is None:
        return Precision("float32", "bfloat16 is not measured for networks this small")
    if row["points_lost"] > _MOST_POINTS:
        return Precision("float32", f"bfloat16 loses {row['points_lost']:.2f} points here")
    name = "bfloat16" if gain >= _LEAST_GAIN else "float32"
    return Precision(name, f"bfloat16 is {gain:.1f} times as fast for such networks here")


def gain_of(row: Mapping[str, Any], parameters: int) -> float | None:
    """How many times as fast as in float32 a network of so many parameters runs in bfloat16.

    Args:
        row: of ``measured_processors``.
        parameters: of the network.

    Returns:
        The least gain, over the batches measured, of the largest network measured that has no more
        parameters; None where all have more.
    """
    smaller = [cell for cell in row["networks"] if cell["parameters"] <= parameters]
    largest = max((cell["parameters"] for cell in smaller), default=None)
    return min((c["gain"] for c in smaller if c["parameters"] == largest), default=None)


def measured_processors() -> dict[str, dict[str, Any]]:
    """The measurements by kind of processor; see ``processor_kind``."""
    return json.loads(MEASURED.read_text(encoding="utf-8"))


def kind_of_row() -> str:
    """Under which name this processor is among the measurements.

    Example:
        >>> kind_of_row().startswith(processor_kind())
        True
    """
    return f"{processor_kind()}, {_instruction()}"


def _instruction() -> str | None:
    instructions = processor_instructions()
    return next((name for name in _INSTRUCTIONS if name in instructions), None)


def compute_in(module: nn.Module, dtype: torch.dtype) -> None:
    """Make a module compute in a dtype; what it takes and gives stays in float32.

    Args:
        module: changed in place, with its weights; for float32 it stays as it is.
        dtype: of weights, and of all that is between input and output.
    """
    if dtype == torch.float32:
        return

    def cast(values: Any, to: torch.dtype) -> Any:
        return tree_map(
            lambda x: x.to(to) if isinstance(x, torch.Tensor) and x.is_floating_point() else x,
            values,
        )

    module.to(dtype)
    module.register_forward_pre_hook(lambda _, inputs: cast(inputs, dtype))
    module.register_forward_hook(lambda _, inputs, outputs: cast(outputs, torch.float32))
