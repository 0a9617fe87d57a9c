"""Loaders: batches from a source, for training and for evaluation.

Each has a random generator of its own, so that going through a loader draws nothing from the
global one and a resumed run finds it as it was.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.sampler import EpochSampler
from spanetv2.tasks.classification.data.seeded import SeededDataset
from spanetv2.tasks.classification.data.source import ImageSource, StreamSource
from spanetv2.tasks.classification.images import Failure, ImageError

__all__ = ["Batch", "Failure", "ImageLoader", "eval_loader", "train_loader"]


class Batch(NamedTuple):
    """An evaluation batch that may have lost images."""

    images: Tensor | None
    """(B, C, H, W), None if not one image of the batch could be read."""
    targets: Tensor
    """(B,) int64."""
    failures: list[Failure]


class ImageLoader(DataLoader[Any]):
    """A ``DataLoader`` that raises a worker's ``ImageError`` as it is, naming the file.

    The plain one wraps it in a worker's traceback.
    """

    def __iter__(self) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        for batch in super().__iter__():
            if isinstance(batch, _Stop):
                raise ImageError(*batch.failure)
            yield batch


def train_loader(
    source: ImageSource | StreamSource,
    *,
    batch_size: int,
    seed: int,
    rank: int = 0,
    world: int = 1,
    shuffle: bool = True,
    drop_last: bool = True,
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
        workers: processes that read; 0 reads in this one. The batches are the same.
        pin_memory: for copies to a GPU.
        persistent_workers: keep the workers between epochs.

    Returns:
        A loader whose ``batch_sampler`` is the ``EpochSampler``; move it with ``set_epoch`` and
        ``start``. For a stream, a loader without sampler: call the source's ``set_epoch``.

    Raises:
        UserError: an impossible batch size. Iterating raises ``ImageError`` on a damaged image.
    """
    common: dict[str, Any] = {
        "num_workers": workers,
        "pin_memory": pin_memory,
        "persistent_workers": persistent_workers and workers > 0,
        "collate_fn": _Collate("raise"),
        "generator": torch.Generator().manual_seed(seed),
    }
    if isinstance(source, StreamSource):
        if batch_size < 1 or batch_size % world:
            raise UserError(f"got a batch of {batch_size} over {world} processes")
        source.set_workers(workers)
        return ImageLoader(
            _SafeStream(source, batch_size=batch_size // world),
            batch_size=batch_size // world,
            drop_last=drop_last,
            **common,
        )
    sampler = EpochSampler(
        len(source),
        batch_size=batch_size,
        seed=seed,
        rank=rank,
        world=world,
        shuffle=shuffle,
        drop_last=drop_last,
    )
    return ImageLoader(
        SeededDataset(_Safe(source), seed=seed),
        batch_sampler=sampler,
        **common,
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

    Returns:
        A loader of ``(images, targets)``; with ``skip``, of ``Batch``.
    """
    common: dict[str, Any] = {
        "num_workers": workers,
        "pin_memory": pin_memory,
        "persistent_workers": persistent_workers and workers > 0,
        "collate_fn": _Collate(on_error),
        "generator": torch.Generator(),
    }
    if isinstance(source, StreamSource):
        source.set_workers(workers)
        own = max(1, batch_size // world)
        return ImageLoader(_SafeStream(source, batch_size=own), batch_size=own, **common)
    sampler = EpochSampler(
        len(source),
        batch_size=batch_size,
        seed=0,
        rank=rank,
        world=world,
        shuffle=False,
        drop_last=False,
    )
    return ImageLoader(
        SeededDataset(_Safe(source), seed=0),
        batch_sampler=sampler,
        **common,
    )


class _Stop(NamedTuple):
    """An item, or a batch, that says: raise this."""

    failure: Failure


class _Safe(Dataset[Any]):
    """Turns an ``ImageError`` into a ``Failure``, which travels between processes unharmed."""

    def __init__(self, source: ImageSource):
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.source[index]
        except ImageError as error:
            return Failure(error.path or self.source.location(index), error.reason)


class _SafeStream(torch.utils.data.IterableDataset[Any]):
    def __init__(self, source: StreamSource, *, batch_size: int):
        self.source = source
        self.batch_size = batch_size

    def __len__(self) -> int:
        return len(self.source)  # pyright: ignore[reportArgumentType]

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self.source
        except ImageError as error:
            # A batch of them: one alone could be the incomplete batch that training drops.
            yield from [_Stop(Failure(error.path, error.reason))] * self.batch_size


class _Collate:
    def __init__(self, on_error: Literal["raise", "skip"]):
        if on_error not in ("raise", "skip"):
            raise UserError(f"got on_error {on_error!r}, expected raise or skip")
        self.on_error = on_error

    def __call__(self, items: list[Any]) -> Any:
        for item in items:
            if isinstance(item, _Stop):
                return item
        failures = [item for item in items if isinstance(item, Failure)]
        if self.on_error == "raise":
            return _Stop(failures[0]) if failures else tuple(default_collate(items))
        good = [item for item in items if not isinstance(item, Failure)]
        if not good:
            return Batch(None, torch.empty(0, dtype=torch.int64), failures)
        images, targets = default_collate(good)
        return Batch(images, targets, failures)
