"""Noticing a loss or weights that are no longer numbers."""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from spanetv2.errors import UserError

__all__ = ["BadLoss", "LossWatch", "NonFiniteError", "all_finite"]


class NonFiniteError(UserError):
    """The loss or the weights became NaN or infinite; the message names where and what is left."""


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


class LossWatch:
    """Looks at every loss without making the processor wait for the accelerator.

    On a CPU the value is there at once. On a GPU it is copied in the background and looked at as
    soon as the copy has arrived, one or two steps later; ``flush`` waits, and is called before
    anything is written to disk.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[Any, torch.Tensor, int, int, float]] = deque()

    def note(self, loss: torch.Tensor, *, update: int, epoch: int, lr: float) -> BadLoss | None:
        """Take in the loss of a step, and tell the first bad one known by now."""
        loss = loss.detach()
        if loss.device.type == "cuda":
            host = torch.empty((), dtype=torch.float32, pin_memory=True)
            host.copy_(loss.float(), non_blocking=True)
            arrived = torch.cuda.Event()
            arrived.record()
        else:
            host, arrived = loss.float().cpu(), None
        self._waiting.append((arrived, host, update, epoch, lr))
        return self._look(wait=False)

    def flush(self) -> BadLoss | None:
        """Wait for every loss taken in, and tell the first bad one."""
        return self._look(wait=True)

    def _look(self, *, wait: bool) -> BadLoss | None:
        while self._waiting:
            arrived, host, update, epoch, lr = self._waiting[0]
            if arrived is not None:
                if wait:
                    arrived.synchronize()
                elif not arrived.query():
                    return None
            self._waiting.popleft()
            value = float(host)
            if not math.isfinite(value):
                return BadLoss(value=value, update=update, epoch=epoch, lr=lr)
        return None


def all_finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether no floating-point tensor holds NaN or infinity; waits for the device once."""
    checks = [torch.isfinite(t.detach()).all() for t in tensors if t.is_floating_point()]
    return not checks or bool(torch.stack(checks).all())
