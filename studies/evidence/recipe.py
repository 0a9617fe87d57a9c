"""How a network is trained: one recipe for every row, but for what a question changes in it."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from spanetv2.errors import UserError

__all__ = ["OPTIMIZERS", "Recipe"]

OPTIMIZERS = ("adamw", "muon")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training.

    Args:
        updates: length of the run.
        batch: images of an update.
        optimizer: adamw, or muon (for matrices and kernels, AdamW for everything else).
        lr: peak of the learning rate; it rises linearly over ``warmup`` and falls as a cosine.
        weight_decay: of parameters of two dimensions or more.
        warmup: share of the run.
        smoothing: of the labels.
        clip: largest norm of the gradient.
        shift: most pixels by which images are moved.
        flip: mirror half of the images.
        filter_lr: factor of the rate of the spectral filters' parameters; 0 freezes them.
        filter_decay: factor of their weight decay.

    Raises:
        UserError: values that no run can have.
    """

    updates: int
    batch: int = 128
    optimizer: str = "adamw"
    lr: float = 3e-3
    weight_decay: float = 0.05
    warmup: float = 0.1
    smoothing: float = 0.1
    clip: float = 1.0
    shift: int = 1
    flip: bool = False
    filter_lr: float = 1.0
    filter_decay: float = 1.0

    def __post_init__(self) -> None:
        if self.updates < 1 or self.batch < 1:
            raise UserError(
                f"got {self.updates} updates of {self.batch} images, expected at least 1 of each"
            )
        if self.optimizer not in OPTIMIZERS:
            raise UserError(
                f"got optimizer {self.optimizer!r}, expected one of {', '.join(OPTIMIZERS)}"
            )

    def rate(self, update: int) -> float:
        """Share of the peak rate at an update, from 0.

        Example:
            >>> recipe = Recipe(updates=100)
            >>> [round(recipe.rate(update), 2) for update in (0, 9, 10, 55, 99)]
            [0.1, 1.0, 1.0, 0.5, 0.0]
        """
        rise = max(1, round(self.warmup * self.updates))
        if update < rise:
            return (update + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (update - rise) / max(1, self.updates - rise)))

    def facts(self) -> dict[str, Any]:
        """As columns of a table."""
        return asdict(self)
