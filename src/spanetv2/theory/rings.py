"""Averages over rings of equal radial frequency |w|."""

import numpy as np
from numpy.typing import ArrayLike

from spanetv2.theory.grid import frequencies

__all__ = ["radial_profile", "ring_masks"]


def radial_profile(
    values_HW: ArrayLike, *, bins: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average over rings of equal |w|, with frequencies folded into [-pi, pi).

    Args:
        values_HW: one value per frequency, (H, W), zero first; real or complex. Not-a-number is
            left out.
        bins: rings up to pi, each pi / bins wide; by default half the shorter
            side. The constant is a ring of its own on any grid. Waves closer to it than half a
            ring, which a grid twice as long as wide or longer has, are one ring more.

    Returns:
        Mean |w| of each ring in radians per token, the mean and the standard deviation of its
        values. Corners beyond pi, which only diagonal waves reach, and empty rings are left out.

    Raises:
        ValueError: the values are not a matrix, or there are no bins.
    """
    values = np.asarray(values_HW)
    if values.ndim != 2:
        raise ValueError(f"got values of shape {values.shape}, expected (H, W)")
    radius, masks = ring_masks(*values.shape, bins=bins)
    known = np.isfinite(values)
    rings = [ring for mask in masks if (ring := mask & known).any()]
    return (
        np.array([radius[ring].mean() for ring in rings]),
        np.array([values[ring].mean() for ring in rings]),
        np.array([values[ring].std() for ring in rings]),
    )


def ring_masks(
    height: int, width: int, *, bins: int | None = None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Say which waves belong to which ring of :func:`radial_profile`.

    Returns:
        |w| of every wave, (H, W), in radians per token; and per ring a mask (H, W), none empty,
        from the constant's outwards.

    Raises:
        ValueError: there are no bins.

    Example:
        >>> _, masks = ring_masks(8, 32)
        >>> [int(mask.sum()) for mask in masks]
        [1, 4, 24, 56, 72, 34]
    """
    if bins is None:
        bins = max(1, min(height, width) // 2)
    if bins < 1:
        raise ValueError(f"got bins={bins}, expected at least 1")
    radius = np.hypot(*frequencies(height, width))
    ring = np.rint(radius / np.pi * bins).astype(int)
    ring[radius > np.pi * (1 + 1e-9)] = -1
    constant = radius == 0
    masks = [constant, (ring == 0) & ~constant]
    masks += [ring == number for number in range(1, bins + 1)]
    return radius, [mask for mask in masks if mask.any()]
