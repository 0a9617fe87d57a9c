"""Every class equally often, however many images it has."""

from collections.abc import Iterator

import numpy as np

from spanetv2.data.sampler import EpochSampler
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.source import ImageSource
from spanetv2.tasks.classification.data.stream import StreamSource

__all__ = ["BalancedSampler", "class_members"]

_AGAIN = 1 << 32
"""Added to the epoch for each time that an image is drawn again in it: its augmentation differs."""


class BalancedSampler(EpochSampler):
    """An ``EpochSampler`` of as many draws as there are images, shared evenly among the classes.

    In an epoch the classes take turns, each round in a new order; a class gives its images in a new
    order, and begins anew when it has given all. So numbers of draws differ by one at most, an
    image of a rare class is seen several times (each time with an augmentation of its own), and of
    a frequent class another part is seen in each epoch. An image of several labels is drawn for any
    of them.

    Args:
        members: indices of the images of each class that has some.
        length: number of draws in an epoch.
        batch_size: samples per batch over all processes, a multiple of ``world``.
        seed: the run's seed.
        rank: this process, 0 <= rank < world.
        world: number of processes.
        drop_last: leave out the last, incomplete batch.

    Yields:
        Lists of ``(epoch, index)``, as ``EpochSampler`` does.

    Raises:
        UserError: as ``EpochSampler`` does.

    Example:
        >>> classes = [np.arange(9), np.array([9])]
        >>> sampler = BalancedSampler(classes, length=10, batch_size=2, seed=0)
        >>> drawn = [index for batch in sampler for _, index in batch]
        >>> drawn.count(9), len({*drawn})
        (5, 6)
    """

    def __init__(
        self,
        members: list[np.ndarray],
        *,
        length: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        drop_last: bool = True,
    ):
        super().__init__(
            length, batch_size=batch_size, seed=seed, rank=rank, world=world, drop_last=drop_last
        )
        self.members = members

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, first = self.epoch, self._first_batch
        self._first_batch = 0
        order = self._order(epoch)
        again = _times_before(order)
        for batch in range(first, len(self)):
            whole = np.arange(
                batch * self.batch_size, min((batch + 1) * self.batch_size, len(order))
            )
            own = whole[self._share(len(whole))]
            yield [(epoch + int(again[i]) * _AGAIN, int(order[i])) for i in own]

    def _order(self, epoch: int) -> np.ndarray:
        random = np.random.default_rng([self.seed, epoch])
        count = len(self.members)
        rounds = -(-self.length // count)
        turns = np.concatenate([random.permutation(count) for _ in range(rounds)])[: self.length]
        order = np.empty(self.length, dtype=np.int64)
        for label, members in enumerate(self.members):
            places = np.flatnonzero(turns == label)
            passes = -(-len(places) // len(members))
            drawn = [random.permutation(members) for _ in range(passes)]
            order[places] = np.concatenate(drawn)[: len(places)] if passes else members[:0]
        return order


def _times_before(order: np.ndarray) -> np.ndarray:
    """How often each entry came before its place."""
    places = np.argsort(order, kind="stable")
    ordered = order[places]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] - 1))
    lengths = np.diff(np.append(starts, len(order)))
    counts = np.arange(len(order)) - np.repeat(starts, lengths)
    result = np.empty(len(order), dtype=np.int64)
    result[places] = counts
    return result


def class_members(source: ImageSource | StreamSource) -> list[np.ndarray]:
    """Indices of the images of each class that has some; of those without a label, too.

    Raises:
        UserError: labels are not known before images are read.
    """
    labels = source.labels if isinstance(source, ImageSource) else None
    if labels is None:
        raise UserError(
            "got data.class_balanced for data whose labels are known on reading only, expected a "
            "folder or another set with labels"
        )
    if labels.ndim == 1:
        groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    else:
        groups = [np.flatnonzero(column) for column in labels.T]
        groups.append(np.flatnonzero(~labels.any(axis=1)))
    return [group for group in groups if len(group)]
