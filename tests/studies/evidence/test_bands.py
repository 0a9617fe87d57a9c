"""Bands removed, noise of one ring, and the correlation of ranks."""

import numpy as np
import pytest
import torch

from spanetv2.theory.rings import ring_masks
from studies.evidence.bands import _half_plane, rank_correlation, ring_noise, without_band


@pytest.mark.parametrize(
    ("removed", "wave", "left"), [("low", 1, 0.0), ("middle", 1, 1.0), ("high", 7, 0.0)]
)
def test_a_band_is_out_and_the_others_stay(removed: str, wave: int, left: float) -> None:
    at = torch.arange(16)
    image = 3 + torch.cos(2 * torch.pi * wave * at / 16).expand(1, 1, 16, 16)
    found = without_band(image, removed)
    torch.testing.assert_close(found, 3 + left * (image - 3), atol=1e-5, rtol=0)
    assert torch.equal(without_band(image, "nothing").round(decimals=4), image.round(decimals=4))


def test_every_band_has_waves_on_the_smallest_grid() -> None:
    image = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    parts = [image - without_band(image, band) for band in ("low", "middle", "high")]
    assert min(float(part.square().mean()) for part in parts) > 0.05
    torch.testing.assert_close(sum(parts), image - image.mean())


def test_noise_has_a_rings_frequencies_alone() -> None:
    _, rings = ring_masks(12, 12)
    noise = ring_noise((5, 1, 12, 12), rings[3], torch.Generator().manual_seed(0))
    assert float(noise.square().mean()) == pytest.approx(1)
    spectrum = torch.fft.fft2(noise).abs().numpy()
    assert spectrum[..., ~rings[3]].max() < 1e-4 * spectrum.max()


def test_waves_are_one_of_each_pair() -> None:
    waves = _half_plane(8, 8)
    assert len(waves) == (7 * 7 - 1) / 2
    assert not {(-i, -j) for i, j in waves} & set(waves)


def test_rank_correlation_sees_order_alone() -> None:
    x = np.array([3.0, 1.0, 2.0, 5.0])
    assert rank_correlation(x.tolist(), np.exp(x).tolist()) == pytest.approx(1)
    assert rank_correlation(x.tolist(), (-x).tolist()) == pytest.approx(-1)
    assert rank_correlation([1.0, 1.0], [1.0, 2.0]) == 0
