"""Noticing a loss, gradients or weights that are no longer numbers."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch

from spanetv2.errors import UserError

__all__ = [
    "Arrivals",
    "BadLoss",
    "GradientWatch",
    "LossWatch",
    "NonFiniteError",
    "all_finite",
    "total_norm",
]

T = TypeVar("T")

_TINY_SHARE = 1e-6
"""Gradients that clipping makes smaller than this share of themselves are clipped to nothing."""


class NonFiniteError(UserError):
    """Loss, gradients or weights became NaN or infinite; says where, and what is left."""


@dataclass(frozen=True, kw_only=True)
class BadLoss:
    """Where a loss was first seen to be no number.

    Args:
        value: the loss, NaN or infinite.
        update: 0-based optimiser update it belonged to.
        epoch: 0-based epoch.
        lr: learning rate of that update.
    """

    value: float
    update: int
    epoch: int
    lr: float


class Arrivals(Generic[T]):
    """Numbers on their way from the accelerator, each with what is known about it.

    On a CPU a value is there at once. On a GPU it is copied in the background and looked at as soon
    as the copy has arrived, one or two steps later, so that the processor need not wait.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Any, torch.Tensor, T]] = deque()

    def add(self, value: torch.Tensor, about: T) -> None:
        """Take in a number, a tensor without dimensions."""
        value = value.detach()
        if value.device.type == "cuda":
            host = torch.empty((), dtype=torch.float32, pin_memory=True)
            host.copy_(value.float(), non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        else:
            host, arrived = value.float().cpu(), None
        self._waiting.append((arrived, host, about))

    def take(self, *, wait: bool) -> Iterator[tuple[float, T]]:
        """The numbers that have arrived, in order; all of them with ``wait``."""
        while self._waiting:
            arrived, host, about = self._waiting[0]
            if arrived is not None:
                if wait:
                    arrived.synchronize()
                elif not arrived.query():
                    return
            self._waiting.popleft()
            yield float(host), about


class LossWatch:
    """Looks at every loss without making the processor wait for the accelerator.

    ``flush`` waits, and is called before anything is written to disk.
    """

    def __init__(self) -> None:
        self._arrivals: Arrivals[tuple[int, int, float]] = Arrivals()

    def note(self, loss: torch.Tensor, *, update: int, epoch: int, lr: float) -> BadLoss | None:
        """Take in the loss of a step, and tell the first bad one known by now."""
        self._arrivals.add(loss, (update, epoch, lr))
        return self._look(wait=False)

    def flush(self) -> BadLoss | None:
        """Wait for every loss taken in, and tell the first bad one."""
        return self._look(wait=True)

    def _look(self, *, wait: bool) -> BadLoss | None:
        for value, (update, epoch, lr) in self._arrivals.take(wait=wait):
            if not math.isfinite(value):
                return BadLoss(value=value, update=update, epoch=epoch, lr=lr)
        return None


class GradientWatch:
    """Looks at the norm of every update's gradients: is it a number, does clipping leave any?

    A run may survive such an update, as clipping divides by an infinite norm and makes everything
    zero, and float16's loss scaling leaves the update out: nothing is learned, and no loss tells.

    Args:
        clip: the norm that gradients are clipped to, None without clipping.
        scaled: the loss is scaled for float16, whose scale is found by trying.
        say: tells the user a line.

    Attributes:
        bad: updates so far whose norm was not finite.
        vanished: updates so far that were clipped to less than a millionth.
        in_a_row: the last updates, if their norms were not finite.
    """

    def __init__(self, *, clip: float | None, scaled: bool, say: Callable[[str], None]):
        self.clip = clip
        self.scaled = scaled
        self.say = say
        self.bad = self.vanished = self.in_a_row = 0
        self._arrivals: Arrivals[int] = Arrivals()

    @property
    def limit(self) -> int:
        """Updates in a row without a finite norm that stop a run: scales of float16 are halved."""
        return 40 if self.scaled else 10

    def note(self, norm: torch.Tensor, *, update: int) -> bool:
        """Take in the norm of an update, and tell whether the run must be stopped."""
        self._arrivals.add(norm, update)
        return self._look(wait=False)

    def flush(self) -> bool:
        """Wait for every norm taken in, and tell whether the run must be stopped."""
        return self._look(wait=True)

    def _look(self, *, wait: bool) -> bool:
        for norm, update in self._arrivals.take(wait=wait):
            if math.isfinite(norm):
                self.in_a_row = 0
                if self.clip and norm * _TINY_SHARE > self.clip:
                    self.vanished += 1
                    if self.vanished == 1:
                        self.say(self._tiny(norm, update))
                continue
            self.bad += 1
            self.in_a_row += 1
            # float16's first scales are too large by design
            if (self.bad == 1 and not self.scaled) or (
                self.scaled and self.in_a_row == self.limit // 2
            ):
                self.say(self._told(norm, update))
        return self.in_a_row >= self.limit

    def _told(self, norm: float, update: int) -> str:
        if self.scaled:
            reason = (
                "float16 overflows and the update is left out; use --trainer.precision bf16-mixed"
            )
        elif self.clip:
            reason = (
                "clipping makes them zero and nothing is learned; likely inputs or features that "
                "are constant or zero, or too high an optimizer.lr"
            )
        else:
            reason = (
                "the weights will be spoiled; lower optimizer.lr, or clip with "
                "--trainer.gradient_clip_val 1"
            )
        return f"warning: the gradient norm is {norm} at update {update + 1}: {reason} (said once)"

    def _tiny(self, norm: float, update: int) -> str:
        return (
            f"warning: the gradient norm is {norm:.1e} at update {update + 1} and is clipped to "
            f"{self.clip:g}: next to nothing is left of most layers' gradients; likely inputs or "
            "features that are constant or zero (said once)"
        )


def all_finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether no floating-point tensor holds NaN or infinity; waits for the device once."""
    checks = [torch.isfinite(t.detach()).all() for t in tensors if t.is_floating_point()]
    return not checks or bool(torch.stack(checks).all())


def total_norm(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """The Euclidean norm of all tensors together, in float32; infinite where that overflows."""
    if not tensors:
        return torch.zeros(())
    norms = torch._foreach_norm(list(tensors), 2, dtype=torch.float32)
    return torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]))
