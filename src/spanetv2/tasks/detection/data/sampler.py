"""Batches of images that are all wide, or all tall."""

from collections.abc import Callable

import numpy as np

from spanetv2.data.sampler import EpochSampler

__all__ = ["AspectRatioSampler"]


class AspectRatioSampler(EpochSampler):
    """An ``EpochSampler`` whose batches hold images wider than high, or only others.

    A batch is padded to its largest height and width, so mixed ones are mostly padding. Each
    epoch's permutation is dealt out into batches of one kind, and the batches are put in a random
    order. What fills no batch of its kind is joined to one mixed batch as far as it goes; so an
    epoch has as many batches as without this, and at most one is mixed.

    Args:
        sizes: (N, 2) heights and widths of the images.
        batch_size: samples per batch over all processes, a multiple of ``world``.
        seed: the run's seed.
        rank: this process, 0 <= rank < world.
        world: number of processes.
        drop_last: leave out the last, incomplete batch.
        order_of: images of the batches that an epoch's order is made for, by epoch; None is
            ``batch_size`` for all. An epoch that was begun with other batches is ended in its
            order, in which then a batch may hold both kinds.

    Yields:
        Lists of ``(epoch, index)``, as ``EpochSampler`` does.

    Raises:
        UserError: as ``EpochSampler`` does.
    """

    def __init__(
        self,
        sizes: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        drop_last: bool = True,
        order_of: Callable[[int], int] | None = None,
    ):
        super().__init__(
            len(sizes),
            batch_size=batch_size,
            seed=seed,
            rank=rank,
            world=world,
            shuffle=True,
            drop_last=drop_last,
        )
        self.order_of = order_of or (lambda _: batch_size)
        self.wide = np.asarray(sizes)[:, 1] > np.asarray(sizes)[:, 0]

    def _order(self, epoch: int) -> np.ndarray:
        order = super()._order(epoch)
        size = self.order_of(epoch)
        kinds = [order[self.wide[order]], order[~self.wide[order]]]
        whole = [len(kind) // size * size for kind in kinds]
        pure = [kind[:end].reshape(-1, size) for kind, end in zip(kinds, whole, strict=True)]
        rest = np.concatenate([kind[end:] for kind, end in zip(kinds, whole, strict=True)])
        mixed = len(rest) // size * size
        batches = np.concatenate([*pure, rest[:mixed].reshape(-1, size)])
        shuffled = np.random.default_rng([self.seed, epoch, 1]).permutation(len(batches))
        return np.concatenate([batches[shuffled].ravel(), rest[mixed:]])
