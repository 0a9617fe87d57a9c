"""The order of training samples, as a pure function of seed and epoch."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from spanetv2.errors import UserError

__all__ = ["EpochSampler", "IterationSampler"]


class EpochSampler(Sampler[list[tuple[int, int]]]):
    """A batch sampler that can begin anywhere and is the same for any number of processes.

    Batch k of an epoch is ``order[k * B : (k + 1) * B]`` of that epoch's permutation, with B the
    batch over all processes; each process takes its equal, contiguous share of it. So 2 processes
    with 8 samples each see the samples of 1 process with 16, and two consecutive batches of 8 hold
    the samples of one of 16 (gradient accumulation).

    Args:
        length: number of samples.
        batch_size: samples per batch over all processes, a multiple of ``world``.
        seed: the run's seed.
        rank: this process, 0 <= rank < world.
        world: number of processes.
        shuffle: a new permutation for each epoch, else the data set's order.
        drop_last: leave out the last, incomplete batch. Must be on for shuffled batches over
            several processes, whose gradients would otherwise be averaged with wrong weights.

    Yields:
        Lists of ``(epoch, index)``, for ``SeededDataset``. Without ``drop_last``, a process whose
        share of the last batch is empty yields nothing for it.

    Raises:
        UserError: an impossible combination, or fewer samples than one batch under ``drop_last``.

    Example:
        >>> sampler = EpochSampler(5, batch_size=2, seed=0, shuffle=False)
        >>> sampler.start(epoch=3, batch=1)
        >>> list(sampler), len(sampler)
        ([[(3, 2), (3, 3)]], 2)
    """

    def __init__(
        self,
        length: int,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        shuffle: bool = True,
        drop_last: bool = True,
    ):
        _check(length, batch_size, rank, world)
        if drop_last and length < batch_size:
            raise UserError(
                f"got {length} samples, expected at least one batch of {batch_size}; "
                "lower the batch size"
            )
        if shuffle and not drop_last and world > 1:
            raise UserError(
                f"got drop_last=False for training on {world} processes, expected True: "
                "an incomplete batch cannot be shared out evenly"
            )
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.epoch = 0
        self._first_batch = 0

    def start(self, epoch: int, batch: int = 0) -> None:
        """Set where the next iteration begins; the ones after it begin at batch 0.

        Args:
            epoch: 0-based.
            batch: 0-based, at most the number of batches (then the iteration is empty).

        Raises:
            UserError: a place outside the data.
        """
        if epoch < 0 or not 0 <= batch <= len(self):
            raise UserError(
                f"got a start at epoch {epoch}, batch {batch}, expected epoch >= 0 and "
                f"0 <= batch <= {len(self)}; was the batch size or the data set changed?"
            )
        self.epoch = epoch
        self._first_batch = batch

    def set_epoch(self, epoch: int) -> None:
        """Move to the start of ``epoch``; without effect if that is the current one.

        Trainers call this before each epoch, also right after ``start`` placed the sampler in the
        middle of it.
        """
        if epoch != self.epoch:
            self.start(epoch)

    def __len__(self) -> int:
        """Batches that this process sees in a whole epoch, wherever the next one begins."""
        whole, rest = divmod(self.length, self.batch_size)
        if self.drop_last:
            return whole
        return whole + (self._share(rest).stop > self._share(rest).start)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        # All of this runs at the first next(): a DataLoader with workers calls iter() twice and
        # draws from the second only.
        epoch, first, order = self.epoch, self._first_batch, self._order(self.epoch)
        self._first_batch = 0
        for batch in range(first, len(self)):
            whole = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [(epoch, index) for index in whole[self._share(len(whole))].tolist()]

    def _order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.length)
        return np.random.default_rng([self.seed, epoch]).permutation(self.length)

    def _share(self, size: int) -> slice:
        """This process's part of a batch of ``size`` samples; sizes differ by at most one."""
        return slice(size * self.rank // self.world, size * (self.rank + 1) // self.world)


class IterationSampler(EpochSampler):
    """A batch sampler for training that is counted in updates instead of epochs.

    The data set is gone through again and again, in a new order each time, as one endless stream;
    no sample is left out at the end of a pass. "Epoch" e of this sampler is the stream's batches
    ``e * batches`` to ``(e + 1) * batches``: how long it is does not change what is seen.

    Args:
        length: number of samples.
        batch_size: samples per batch over all processes, a multiple of ``world``; may exceed
            ``length``.
        batches: length of an epoch.
        seed: the run's seed.
        rank: this process, 0 <= rank < world.
        world: number of processes.

    Yields:
        Lists of ``(pass, index)``: a sample's augmentation is a new one in each pass.

    Raises:
        UserError: impossible numbers.

    Example:
        >>> sampler = IterationSampler(3, batch_size=2, batches=3, seed=0)
        >>> [[turn for turn, _ in batch] for batch in sampler]
        [[0, 0], [0, 1], [1, 1]]
    """

    def __init__(
        self,
        length: int,
        *,
        batch_size: int,
        batches: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ):
        if batches < 1:
            raise UserError(f"got epochs of {batches} batches, expected at least 1")
        _check(length, batch_size, rank, world)
        self.length = length
        self.batch_size = batch_size
        self.batches = batches
        self.seed = seed
        self.rank = rank
        self.world = world
        self.shuffle = True
        self.epoch = 0
        self._first_batch = 0

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self.batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        first = self.epoch * self.batches + self._first_batch
        last = (self.epoch + 1) * self.batches
        self._first_batch = 0
        own = self._share(self.batch_size)
        turn, order = -1, np.arange(0)
        for batch in range(first, last):
            keys: list[tuple[int, int]] = []
            for place in range(
                batch * self.batch_size + own.start, batch * self.batch_size + own.stop
            ):
                if place // self.length != turn:
                    turn = place // self.length
                    order = self._order(turn)
                keys.append((turn, int(order[place % self.length])))
            yield keys


def _check(length: int, batch_size: int, rank: int, world: int) -> None:
    if world < 1 or not 0 <= rank < world:
        raise UserError(f"got rank {rank} of {world} processes, expected 0 <= rank < world")
    if batch_size < 1 or batch_size % world:
        raise UserError(
            f"got a batch of {batch_size} over {world} processes, expected a positive multiple"
        )
    if length < 1:
        raise UserError("got a data set without samples, expected at least one")
