"""Augmentation as a pure function of seed, epoch and index.

timm's and torchvision's transforms draw from three global generators. Left alone, what an image
looks like depends on which worker reads it and on everything read before; a run that was
interrupted could never continue with the same pictures. Here the generators are set from
``(seed, epoch, index)`` for each item and put back afterwards.
"""

import contextlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

__all__ = ["SeededDataset", "item_seed", "seeded"]

_MASK = 2**64 - 1


class SeededDataset(Dataset[Any]):
    """A data set addressed by ``(epoch, index)``, with its randomness fixed by them.

    Args:
        dataset: any map-style data set.
        seed: the run's seed.

    The generators of Python, NumPy and PyTorch (CPU) are as before after each item or batch, so
    reading in the main process does not disturb dropout or mixup there.
    """

    def __init__(self, dataset: Dataset[Any], *, seed: int):
        self.dataset = dataset
        self.seed = seed

    @property
    def classes(self) -> list[str]:
        """Class names of the data set inside."""
        return getattr(self.dataset, "classes")  # noqa: B009 - a plain Dataset has none

    def __len__(self) -> int:
        return len(self.dataset)  # pyright: ignore[reportArgumentType]

    def __getitem__(self, key: tuple[int, int]) -> Any:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[tuple[int, int]]) -> list[Any]:
        """The items of a batch; a ``DataLoader`` asks for them so."""
        with _kept_generators():
            return [self._item(*key) for key in keys]

    def _item(self, epoch: int, index: int) -> Any:
        _seed_all(item_seed(self.seed, epoch, index))
        return self.dataset[index]


def item_seed(*keys: int) -> int:
    """A 64-bit seed from non-negative integers, well mixed: nearby keys give unrelated seeds.

    Source: the finaliser of SplitMix64 (Steele, Lea, Flood, 2014), once per key.

    Example:
        >>> item_seed(0, 1, 2) == item_seed(0, 1, 2), item_seed(0, 1, 2) == item_seed(0, 2, 1)
        (True, False)
    """
    state = 0
    for key in keys:
        state = (state + key + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators (Python, NumPy, PyTorch on the CPU); put them back at the end.

    Args:
        seed: 0 <= seed < 2**64.
    """
    with _kept_generators():
        _seed_all(seed)
        yield


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed([seed & 0xFFFFFFFF, seed >> 32])  # noqa: NPY002 - timm draws from it
    # torch.manual_seed would also queue work for CUDA, once per item, in every worker.
    torch.default_generator.manual_seed(seed)


@contextlib.contextmanager
def _kept_generators() -> Iterator[None]:
    python, torch_cpu = random.getstate(), torch.get_rng_state()
    numpy = np.random.get_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(torch_cpu)
