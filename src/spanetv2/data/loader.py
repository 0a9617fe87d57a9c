"""Loaders: batches from a data set, for training and for evaluation.

A data set here is a map-style ``Dataset`` whose items may raise ``ImageError``, and that tells with
``location(index)`` what to call an item. Each loader has a random generator of its own, so that
going through one draws nothing from the global one and a resumed run finds it as it was.
"""

import atexit
import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from spanetv2.data.images import Failure, ImageError
from spanetv2.data.sampler import EpochSampler
from spanetv2.data.seeded import SeededDataset
from spanetv2.data.worker_deaths import check_workers, hold_deaths
from spanetv2.errors import UserError
from spanetv2.kept import keep
from spanetv2.processes import FROM_INSIDE, begin_worker, naming_deaths

__all__ = [
    "Collate",
    "ImageLoader",
    "PartialBatch",
    "SafeItems",
    "Stop",
    "eval_batches",
    "train_batches",
]


class Stop(NamedTuple):
    """An item, or a batch, that says: raise this."""

    failure: Failure


class PartialBatch(NamedTuple):
    """A batch that may have lost images."""

    batch: Any
    """what the loader's ``collate`` made of those that could be read; None if not one could"""
    failures: list[Failure]


class ImageLoader(DataLoader[Any]):
    """A ``DataLoader`` that raises a worker's ``ImageError`` and ``UserError`` as they are.

    The plain one wraps them in a worker's traceback. Its workers end with this process, and the
    death of one is a ``UserError``.
    """

    def __init__(self, *args: Any, worker_init_fn: Any = begin_worker, **options: Any):
        super().__init__(*args, worker_init_fn=worker_init_fn, **options)

    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        batches: Any = ()
        # An iterator without processes has no such list.
        with naming_deaths(lambda: getattr(batches, "_workers", ())), _as_it_was():
            batches = super().__iter__()
            _BEGUN.add(batches)
            hold_deaths()
            for batch in batches:
                if isinstance(batch, Stop):
                    raise ImageError(*batch.failure)
                yield batch
                check_workers()


_BEGUN: weakref.WeakSet[Any] = weakref.WeakSet()


@atexit.register
def _end_workers() -> None:
    """End loading processes whose loader something still holds.

    ``multiprocessing`` would send each SIGTERM and wait; those of a training outlive the first.
    """
    for batches in [*_BEGUN]:
        getattr(batches, "_shutdown_workers", lambda: None)()


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Raise a worker's ``UserError`` without what PyTorch puts around it."""
    try:
        yield
    except UserError as error:
        around, _, said = str(error).rpartition("Error: ")
        if not around.startswith(FROM_INSIDE):
            raise
        raise UserError(said.rstrip()) from None


class SafeItems(Dataset[Any]):
    """Turns an ``ImageError`` into a ``Failure``, which travels between processes unharmed."""

    def __init__(self, source: Any):
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.source[index]
        except ImageError as error:
            return Failure(error.path or self.source.location(index), error.reason)


class Collate:
    """Puts items together, or says what was wrong with them.

    Args:
        merge: from a non-empty list of items to a batch.
        on_error: ``raise`` makes the loader raise the first failure; ``skip`` gives a
            ``PartialBatch``.

    Raises:
        UserError: another word.
    """

    def __init__(self, merge: Callable[[list[Any]], Any], on_error: Literal["raise", "skip"]):
        if on_error not in ("raise", "skip"):
            raise UserError(f"got on_error {on_error!r}, expected raise or skip")
        self.merge = merge
        self.on_error = on_error

    def __call__(self, items: list[Any]) -> Any:
        for item in items:
            if isinstance(item, Stop):
                return item
        failures = [item for item in items if isinstance(item, Failure)]
        if self.on_error == "raise":
            return Stop(failures[0]) if failures else self.merge(items)
        good = [item for item in items if not isinstance(item, Failure)]
        return PartialBatch(self.merge(good) if good else None, failures)


class _Taken(Sampler[list[tuple[int, int]]]):
    """Some of the batches of a batch sampler."""

    def __init__(self, batches: EpochSampler, takes: Callable[[int], bool]):
        self.batches = batches
        self.takes = takes

    def __len__(self) -> int:
        return sum(map(self.takes, range(len(self.batches))))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return (batch for number, batch in enumerate(self.batches) if self.takes(number))


def train_batches(
    dataset: Any,
    *,
    sampler: Sampler[list[tuple[int, int]]],
    seed: int,
    collate: Callable[[list[Any]], Any],
    workers: int = 0,
    pin_memory: bool = False,
    persistent_workers: bool = False,
) -> ImageLoader:
    """Batches for training, in the order of a batch sampler.

    Args:
        dataset: the data, with random augmentation inside.
        sampler: yields lists of ``(epoch, index)``; its ``start`` and ``set_epoch`` move it.
        seed: augmentation is a function of it, the epoch and the index.
        collate: from a list of items to a batch.
        workers: processes that read; 0 reads in this one. The batches are the same.
        pin_memory: for copies to a GPU.
        persistent_workers: keep the workers between epochs.

    Returns:
        A loader; iterating raises ``ImageError`` on a damaged file.
    """
    return ImageLoader(
        SeededDataset(SafeItems(dataset), seed=seed),
        batch_sampler=sampler,
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=persistent_workers and workers > 0,
        collate_fn=Collate(collate, "raise"),
        generator=torch.Generator().manual_seed(seed),
    )


def eval_batches(
    dataset: Any,
    *,
    batch_size: int,
    collate: Callable[[list[Any]], Any],
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    on_error: Literal["raise", "skip"] = "raise",
    pin_memory: bool = False,
    persistent_workers: bool = False,
    takes: Callable[[int], bool] | None = None,
) -> ImageLoader:
    """Batches for evaluation, in order, every item once.

    Args:
        dataset: the data.
        batch_size: items per batch over all processes.
        collate: from a list of items to a batch; a ``Collate`` decides about failures itself.
        rank: this process, which sees its share of each batch.
        world: number of processes.
        workers: processes that read.
        on_error: raise on a damaged file, or leave it out of its batch and report it there.
        pin_memory: for copies to a GPU.
        persistent_workers: keep the workers between passes.
        takes: which batches are given, by number from 0; None is all.

    Returns:
        A loader of batches; with ``skip``, of ``PartialBatch``.

    Raises:
        UserError: impossible numbers.
    """
    keep(lambda: (dataset.location(index) for index in range(len(dataset))))
    sampler = EpochSampler(
        len(dataset),
        batch_size=batch_size,
        seed=0,
        rank=rank,
        world=world,
        shuffle=False,
        drop_last=False,
    )
    return ImageLoader(
        SeededDataset(SafeItems(dataset), seed=0),
        batch_sampler=sampler if takes is None else _Taken(sampler, takes),
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=persistent_workers and workers > 0,
        collate_fn=collate if isinstance(collate, Collate) else Collate(collate, on_error),
        generator=torch.Generator(),
    )
