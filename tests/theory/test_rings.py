"""Rings of equal |w|: every wave up to pi in one of them, the constant alone in the first."""

import numpy as np
import pytest

from spanetv2.theory.rings import radial_profile, ring_masks

GRIDS = [(7, 14), (8, 32), (14, 28), (16, 32), (4, 30), (28, 7), (2, 9), (1, 5), (3, 3), (14, 14)]


@pytest.mark.parametrize("bins", [None, 1, 3, 20])
@pytest.mark.parametrize("grid", GRIDS)
def test_ring_masks_leave_the_constant_alone(grid: tuple[int, int], bins: int | None) -> None:
    radius, masks = ring_masks(*grid, bins=bins)
    assert np.flatnonzero(masks[0]).tolist() == [0]
    times = np.sum(masks, axis=0)
    np.testing.assert_array_equal(times, radius <= np.pi * (1 + 1e-9))
    # By definition: waves off the constant are of the ring whose radius is nearest to theirs.
    width = np.pi / (bins or max(1, min(grid) // 2))
    for mask in masks[1:]:
        assert len(np.unique(np.rint(radius[mask] / width))) == 1
    means = [radius[mask].mean() for mask in masks]
    assert means == sorted(means)


@pytest.mark.parametrize("grid", GRIDS)
def test_radial_profile_of_the_mean_of_all_tokens_is_one_point(grid: tuple[int, int]) -> None:
    gain = np.zeros(grid)
    gain[0, 0] = 1
    radius, mean, spread = radial_profile(gain)
    assert (radius[0], mean[0], spread[0]) == (0, 1, 0)
    assert not mean[1:].any()


@pytest.mark.parametrize("side", [2, 3, 7, 8, 14, 16, 56])
def test_rings_of_square_grids_are_as_wide_as_their_waves_are_apart(side: int) -> None:
    wave = np.abs(2 * np.pi * np.fft.fftfreq(side))
    radius = np.hypot(wave[:, None], wave)
    _, masks = ring_masks(side, side)
    ring = np.rint(radius / np.pi * (side // 2)).astype(int)
    assert len(masks) == side // 2 + 1
    for number, mask in enumerate(masks):
        np.testing.assert_array_equal(mask, (ring == number) & (radius <= np.pi * (1 + 1e-9)))
