"""Loaders of labelled images, for training and for evaluation."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import default_collate

from spanetv2.data.images import Failure, ImageError
from spanetv2.data.loader import Collate, ImageLoader, Stop, eval_batches, train_batches
from spanetv2.data.sampler import EpochSampler
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.sampler import BalancedSampler, class_members
from spanetv2.tasks.classification.data.source import ImageSource
from spanetv2.tasks.classification.data.stream import StreamSource

__all__ = ["StreamLoader", "eval_loader", "train_loader"]


def train_loader(
    source: ImageSource | StreamSource,
    *,
    batch_size: int,
    seed: int,
    rank: int = 0,
    world: int = 1,
    shuffle: bool = True,
    drop_last: bool = True,
    class_balanced: bool = False,
    workers: int = 0,
    pin_memory: bool = False,
    persistent_workers: bool = False,
) -> ImageLoader:
    """Batches for training: ``(images, targets)``.

    Args:
        source: the data set, with its transform.
        batch_size: samples per batch over all processes, a multiple of ``world``.
        seed: order and augmentation are functions of it, the epoch and the index.
        rank: this process.
        world: number of processes.
        shuffle: a new order each epoch.
        drop_last: leave out the last, incomplete batch.
        class_balanced: draw every class equally often, rather than every image once an epoch.
        workers: processes that read; 0 reads in this one. The batches are the same.
        pin_memory: for copies to a GPU.
        persistent_workers: keep the workers between epochs.

    Returns:
        A loader whose ``batch_sampler`` is the ``EpochSampler``; move it with ``set_epoch`` and
        ``start``. Of a stream, a ``StreamLoader``, which has them itself.

    Raises:
        UserError: an impossible batch size. Iterating raises ``ImageError`` on a damaged image.
    """
    members = class_members(source) if class_balanced else None
    if isinstance(source, StreamSource):
        if batch_size < 1 or batch_size % world:
            raise UserError(f"got a batch of {batch_size} over {world} processes")
        return StreamLoader(
            source,
            batch_size=batch_size // world,
            workers=workers,
            rank=rank,
            world=world,
            drop_last=drop_last,
            collate_fn=Collate(_merge, "raise"),
            generator=torch.Generator().manual_seed(seed),
            pin_memory=pin_memory,
            persistent_workers=persistent_workers,
        )
    common: Any = {"batch_size": batch_size, "seed": seed, "rank": rank, "world": world}
    if members is None:
        sampler = EpochSampler(len(source), shuffle=shuffle, drop_last=drop_last, **common)
    else:
        sampler = BalancedSampler(members, length=len(source), drop_last=drop_last, **common)
    return train_batches(
        source,
        sampler=sampler,
        seed=seed,
        collate=_merge,
        workers=workers,
        pin_memory=pin_memory,
        persistent_workers=persistent_workers,
    )


def eval_loader(
    source: ImageSource | StreamSource,
    *,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    on_error: Literal["raise", "skip"] = "raise",
    pin_memory: bool = False,
    persistent_workers: bool = False,
    takes: Callable[[int], bool] | None = None,
) -> ImageLoader:
    """Batches for evaluation, in order, every sample once.

    Args:
        source: the data set, with its transform.
        batch_size: samples per batch over all processes.
        rank: this process, which sees its share of each batch.
        world: number of processes.
        workers: processes that read.
        on_error: raise on a damaged image, or leave it out of its batch and report it there.
        pin_memory: for copies to a GPU.
        persistent_workers: keep the workers between passes.
        takes: which batches are given, by number from 0; None is all. A stream gives all.

    Returns:
        A loader of ``(images, targets)``; with ``skip``, of ``PartialBatch`` of such pairs.
    """
    collate = Collate(_merge, on_error)
    if isinstance(source, StreamSource):
        return StreamLoader(
            source,
            batch_size=max(1, batch_size // world),
            workers=workers,
            rank=rank,
            world=world,
            collate_fn=collate,
            generator=torch.Generator(),
            pin_memory=pin_memory,
            persistent_workers=persistent_workers,
        )
    return eval_batches(
        source,
        batch_size=batch_size,
        collate=collate,
        rank=rank,
        world=world,
        workers=workers,
        pin_memory=pin_memory,
        persistent_workers=persistent_workers,
        takes=takes,
    )


def _merge(items: list[Any]) -> tuple[Tensor, Tensor]:
    images, targets = default_collate(items)
    return images, targets  # a tuple, which default_collate makes a list


class StreamLoader(ImageLoader):
    """Batches of a stream, from any on.

    The batches come from the lanes in turn, so that a place in the stream is a number of rounds,
    passed over where they are read, and a number of batches of the next one, passed over here.

    Args:
        source: the stream.
        batch_size: samples per batch of this process.
        workers: processes that read; 0 reads in this one.
        rank: this process.
        world: number of processes.
        **options: of a ``DataLoader``.
    """

    def __init__(
        self,
        source: StreamSource,
        *,
        batch_size: int,
        workers: int,
        rank: int,
        world: int,
        persistent_workers: bool,
        **options: Any,
    ):
        lanes = source.share(batch_size=batch_size, rank=rank, world=world, workers=workers)
        super().__init__(
            _SafeStream(source, batch_size=batch_size),
            batch_size=batch_size,
            num_workers=workers,
            persistent_workers=persistent_workers and workers > 0,
            **options,
        )
        self._source, self._lanes = source, lanes
        self._samples = batch_size
        self._epoch = self._passed_over = 0

    def start(self, epoch: int, batch: int = 0) -> None:
        """Set where the next iteration begins; those of other epochs begin at batch 0.

        Args:
            epoch: 0-based.
            batch: 0-based.
        """
        rounds, self._passed_over = divmod(batch, self._lanes)
        self._epoch = epoch
        self._source.begin(epoch, rounds * self._samples)

    def set_epoch(self, epoch: int) -> None:
        """Move to the start of ``epoch``; without effect if that is the current one."""
        if epoch != self._epoch:
            self.start(epoch)

    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        passed_over, self._passed_over = self._passed_over, 0
        return itertools.islice(super().__iter__(), passed_over, None)


class _SafeStream(torch.utils.data.IterableDataset[Any]):
    def __init__(self, source: StreamSource, *, batch_size: int):
        self.source = source
        self.batch_size = batch_size

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self.source
        except ImageError as error:
            # A batch of them: one alone could be the incomplete batch that training drops.
            yield from [Stop(Failure(error.path, error.reason))] * self.batch_size
