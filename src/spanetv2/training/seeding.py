"""Randomness as a function of the place in the run, instead of a state carried along."""

import random

import numpy as np
import torch

from spanetv2.data.seeded import item_seed

__all__ = ["seed_all", "seed_step"]


def seed_all(value: int) -> None:
    """Seed Python, NumPy and PyTorch (all devices) with a number of up to 64 bits."""
    random.seed(value)
    # NumPy's legacy generator (timm's Mixup uses it) takes 32-bit words.
    np.random.seed([value & 0xFFFFFFFF, value >> 32])  # noqa: NPY002
    torch.manual_seed(value)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed everything for one batch of one process.

    Drop path, dropout and mixup of a batch then depend on (seed, step, rank) alone: not on how the
    run came there, on validation in between, or on the number of loading processes. So a resumed
    run needs no saved generator states to go on exactly as it would have.

    Args:
        seed: the run's seed.
        step: 0-based count of batches since the start of the run.
        rank: this process.
    """
    # a fourth key, so that no batch shares its numbers with an image of the data set
    seed_all(item_seed(seed, step, rank, 1))
