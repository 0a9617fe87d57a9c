"""When Triton kernels are taken in place of other code; decided while a graph is traced.

"fused" takes them wherever they run. "auto" takes them where ``measured.json`` has a measurement on
the card's generation that says that they are right and faster. Exported graphs never have them:
their files are to run anywhere.
"""

import importlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files

import torch
from torch import Tensor

from spanetv2.ops.kernel_operator import can_launch

__all__ = [
    "Measurement",
    "accepts_launches",
    "is_accepted",
    "may_use_kernels",
    "measurements",
    "use_kernels",
]

_SIDES = (16, 32, 64)
"""Tokens of a grid's longer side up to which a measurement holds; the last for all beyond."""


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One comparison of an operator's kernels with the code that runs without them.

    Args:
        operator: folder of ``spanetv2.ops``.
        card: the GPU's name.
        generation: major number of its compute capability.
        torch: version of PyTorch.
        commit: of this package.
        dtype: of the maps, such as "bfloat16".
        work: "inference", or "training" for forward and backward.
        side: tokens of the grid's longer side.
        speed: time without the kernels over time with them.
        error: relative error of outputs and gradients, the largest.
        allowed: the largest that counts as right.
    """

    operator: str
    card: str
    generation: int
    torch: str
    commit: str
    dtype: str
    work: str
    side: int
    speed: float
    error: float
    allowed: float

    @property
    def better(self) -> bool:
        return self.error <= self.allowed and self.speed > 1


def measurements() -> list[Measurement]:
    """What was measured so far, as the package has it."""
    text = files("spanetv2.ops").joinpath("measured.json").read_text(encoding="utf-8")
    return [Measurement(**record) for record in json.loads(text)]


def _row(side: int) -> int:
    return sum(side > least for least in _SIDES)


_BETTER = {
    (m.operator, m.generation, m.dtype, m.work, _row(m.side)) for m in measurements() if m.better
}


def may_use_kernels(operator: str, implementation: str) -> bool:
    """Whether ``use_kernels`` can say yes on some GPU."""
    measured = implementation == "auto" and any(better[0] == operator for better in _BETTER)
    return implementation == "fused" or measured


def use_kernels(operator: str, implementation: str, x_BCHW: Tensor) -> bool:
    """Whether an operator's kernels are to run.

    Args:
        operator: folder of ``spanetv2.ops``.
        implementation: see ``spanetv2.set_implementation``.
        x_BCHW: the operator's maps, (B, C, H, W).
    """
    if not may_use_kernels(operator, implementation) or not can_launch(x_BCHW):
        return False
    if torch.compiler.is_exporting() or torch.jit.is_tracing():
        return False
    if implementation == "fused":
        return True
    work = "training" if torch.is_grad_enabled() else "inference"
    row = _row(max(x_BCHW.shape[2], x_BCHW.shape[3]))
    return _is_better(operator, x_BCHW.device, x_BCHW.dtype, work, row)


@torch.compiler.assume_constant_result
def _is_better(
    operator: str, device: torch.device, dtype: torch.dtype, work: str, row: int
) -> bool:
    if device.type != "cuda":
        return False
    generation, _ = torch.cuda.get_device_capability(device)
    return (operator, generation, str(dtype).removeprefix("torch."), work, row) in _BETTER


_ANSWERS: dict[tuple[object, ...], bool] = {}


def is_accepted(trial: Callable[[], object], *case: object) -> bool:
    """Whether a card accepts launches, tried once per case; a line is printed if it does not.

    Args:
        trial: launches the kernels.
        case: what the answer depends on, first the operator's name; for the line, too.
    """
    if case not in _ANSWERS:
        try:
            trial()
            _ANSWERS[case] = True
        except Exception as error:  # the driver's, the compiler's, Triton's own
            _ANSWERS[case] = False
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            shown = ", ".join(map(str, case))
            warnings.warn(
                f"the GPU refuses the kernels of {shown} ({reason}); going on without them",
                stacklevel=2,
            )
    return _ANSWERS[case]


@torch.compiler.assume_constant_result
def accepts_launches(
    operator: str,
    sizes: tuple[int, ...],
    shown: str,
    dtype: torch.dtype,
    device: torch.device,
    training: bool,
) -> bool:
    """Whether a GPU accepts an operator's kernels, by its ``try_launches``.

    Args:
        operator: folder of ``spanetv2.ops``, whose module ``operator`` has ``try_launches``.
        sizes: what the trial takes before dtype and device.
        shown: the sizes, for the line that is printed where a card refuses.
        dtype: of the maps.
        device: the GPU.
        training: whether the kernels of the backward pass are tried, too.
    """

    def trial() -> None:
        launches = importlib.import_module(f"spanetv2.ops.{operator}.operator").try_launches
        launches(*sizes, dtype, device, training=training)

    work = "training" if training else "inference"
    return is_accepted(trial, operator, shown, dtype, device, work)
