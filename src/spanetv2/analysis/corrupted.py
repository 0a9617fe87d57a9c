"""Where corruptions live in the plane of frequencies, and what they cost a network.

Shape suffixes: B images, C channels, H and W in pixels. Frequencies are in radians per pixel.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spanetv2.analysis.arrays import NamedArray
from spanetv2.analysis.corruptions import CORRUPTIONS, STRENGTHS, corrupt
from spanetv2.analysis.score import Score
from spanetv2.errors import UserError
from spanetv2.theory.rings import radial_profile

__all__ = ["corrupted_scores", "corruption_power", "radial_power"]


def corrupted_scores(
    score: Score,
    *,
    kinds: Sequence[str] = tuple(CORRUPTIONS),
    strengths: Sequence[int] = STRENGTHS,
    seed: int = 0,
    advance: Callable[[int], Any] | None = None,
) -> NamedArray:
    """A network's score under corrupted images.

    Args:
        score: of the network.
        kinds: of ``spanetv2.analysis.corruptions.CORRUPTIONS``.
        strengths: from 1 to 5.
        seed: of the corruptions' draws.
        advance: called with the number of images done.

    Returns:
        Scores over ``corruption`` and ``strength``.

    Raises:
        UserError: an unknown kind or strength, or outputs that cannot be scored.
    """
    found = np.zeros((len(kinds), len(strengths)))
    for i, kind in enumerate(kinds):
        for j, strength in enumerate(strengths):
            found[i, j] = score.measure(_change(score, kind, strength, seed))
            if advance is not None:
                advance(score.images)
    coords = {"corruption": list(kinds), "strength": list(strengths)}
    return NamedArray(found, ("corruption", "strength"), coords, score.title)


def _change(score: Score, kind: str, strength: int, seed: int) -> Callable[[Tensor], Tensor]:
    seen = 0

    def change(x_BCHW: Tensor) -> Tensor:
        nonlocal seen
        std, offset = (
            torch.tensor(values, dtype=x_BCHW.dtype, device=x_BCHW.device)[:, None, None]
            for values in (score.std, score.offset)
        )
        pixels = corrupt(x_BCHW * std + offset, kind, strength, seed=seed, first=seen)
        seen += len(x_BCHW)
        return (pixels - offset) / std

    return change


def corruption_power(
    pixels_BCHW: Tensor,
    *,
    kinds: Sequence[str] = tuple(CORRUPTIONS),
    strengths: Sequence[int] = STRENGTHS,
    seed: int = 0,
) -> NamedArray:
    """Power of what corruptions add to images, per frequency.

    Args:
        pixels_BCHW: images of pixel values in 0..1; values beyond are clipped.
        kinds: of ``spanetv2.analysis.corruptions.CORRUPTIONS``.
        strengths: from 1 to 5.
        seed: of the draws.

    Returns:
        ``mean |FFT2(corrupted - image)|^2 / (H W)^2`` over ``corruption``, ``strength``, ``i`` and
        ``j``, the numbers of periods over height and width, frequency 0 in the middle. Its sum over
        the plane is the mean square of the change per pixel and channel (Parseval).

    Raises:
        UserError: no images, an unknown kind or strength.
    """
    if pixels_BCHW.ndim != 4 or len(pixels_BCHW) == 0:
        raise UserError(f"got images of shape {tuple(pixels_BCHW.shape)}, expected (B, C, H, W)")
    pixels = pixels_BCHW.float().clamp(0, 1)
    height, width = pixels.shape[2:]
    found = np.zeros((len(kinds), len(strengths), height, width))
    for i, kind in enumerate(kinds):
        for j, strength in enumerate(strengths):
            change = corrupt(pixels, kind, strength, seed=seed) - pixels
            power = torch.fft.fft2(change.double()).abs().square().mean(dim=(0, 1))
            found[i, j] = np.fft.fftshift(power.numpy()) / (height * width) ** 2
    coords = {
        "corruption": list(kinds),
        "strength": list(strengths),
        "i": [k - height // 2 for k in range(height)],
        "j": [k - width // 2 for k in range(width)],
    }
    return NamedArray(found, ("corruption", "strength", "i", "j"), coords, "mean square")


def radial_power(power: NamedArray) -> NamedArray:
    """Mean power over rings of frequencies, over ``corruption``, ``strength`` and ``radius``.

    Args:
        power: from ``corruption_power``.
    """
    kinds, strengths, height, width = power.values.shape
    plane = np.fft.ifftshift(power.values, axes=(2, 3)).reshape(-1, height, width)
    rings = np.stack([radial_profile(values)[1] for values in plane])
    radius = radial_profile(plane[0])[0].tolist()
    coords = {name: power.coords[name] for name in ("corruption", "strength")}
    return NamedArray(
        rings.reshape(kinds, strengths, -1),
        ("corruption", "strength", "radius"),
        {**coords, "radius": radius},
        power.unit,
    )
