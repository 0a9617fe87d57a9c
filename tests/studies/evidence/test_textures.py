"""Textures have the spectrum that they are said to have."""

import numpy as np
import pytest
import torch

from spanetv2.errors import UserError
from spanetv2.theory.grid import frequencies
from studies.evidence.images import load
from studies.evidence.textures import BANDS, CLASSES, cue_images, silhouettes, texture


@pytest.mark.parametrize("band", list(BANDS))
@pytest.mark.parametrize("kind", [0, 3, 7, 8])
def test_power_lies_in_the_band_and_along_the_orientation(band: str, kind: int) -> None:
    side = 64  # so that the spectrum is finer than the bands
    drawn = texture(kind, band, side, 20, torch.Generator().manual_seed(0))
    window = torch.hann_window(side, dtype=torch.float64)
    power = torch.fft.fft2(drawn * window[:, None] * window).abs().square().mean(0).numpy()
    rows, columns = frequencies(side, side)
    radius, angle = np.hypot(rows, columns), np.arctan2(rows, columns)
    ratio = 2 ** (1 / 3) * 1.3  # the window widens every line
    inside = (radius > BANDS[band] / ratio) & (radius < BANDS[band] * ratio)
    off = np.abs((angle - np.pi * kind / CLASSES + np.pi / 2) % np.pi - np.pi / 2)
    along = inside & (off < np.pi / CLASSES)
    assert power[inside].sum() / power.sum() > 0.9
    assert power[along].sum() / power.sum() > 0.75
    assert along.sum() / along.size < 0.2  # of the plane, which white noise would give it


def test_cues_agree_in_training_and_never_in_the_conflict() -> None:
    cues = cue_images(load("digits"), "middle", side=16, train=300, tests=100)
    assert cues.images.train_images.shape == (300, 1, 16, 16)
    assert abs(float(cues.images.train_images.mean())) < 1e-4
    assert not (cues.shape_labels == cues.texture_labels).any()
    assert set(cues.texture_labels.tolist()) == set(range(CLASSES))
    again = cue_images(load("digits"), "middle", side=16, train=300, tests=100)
    assert torch.equal(again.conflict_images, cues.conflict_images)


def test_silhouettes_are_the_object() -> None:
    pixels = torch.zeros(1, 8, 8)
    pixels[0, 2:6, 2:6] = 0.7
    mask = silhouettes(pixels, 16)[0]
    assert mask[6:10, 6:10].min() == 1
    assert mask[:2].max() == 0


def test_refuses_unknown_textures() -> None:
    with pytest.raises(UserError, match="got texture 3 of band 'ultra'"):
        texture(3, "ultra", 8, 1, torch.Generator())
