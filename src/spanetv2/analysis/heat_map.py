"""The Fourier heat map: how often a classifier errs when one wave is added to its input.

Shape suffixes: B images, C channels, H and W in pixels.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spanetv2.analysis.arrays import NamedArray
from spanetv2.analysis.score import Score, top1_score
from spanetv2.errors import UserError

__all__ = ["DEFAULT_STRENGTH", "fourier_heat_map", "fourier_image", "wave_errors"]

DEFAULT_STRENGTH = 15.7 / 224
"""Root mean square of the wave over the pixels, in units of pixel values 0..1: that of a wave of
norm 15.7 on 224 x 224 pixels."""


def fourier_image(size: tuple[int, int], i: int, j: int) -> Tensor:
    """The cosine of frequency 2 pi (i / H, j / W), of unit norm: (H, W), float64.

    Its spectrum is real, and zero except at (i, j) and (-i, -j).

    Example:
        >>> wave = fourier_image((4, 6), 1, 2)
        >>> round(float(wave.norm()), 6), int((torch.fft.fft2(wave).abs() > 1e-6).sum())
        (1.0, 2)
    """
    height, width = size
    rows = torch.arange(height, dtype=torch.float64)[:, None] * i / height
    columns = torch.arange(width, dtype=torch.float64) * j / width
    wave = torch.cos(2 * torch.pi * (rows + columns))
    return wave / wave.norm()


def fourier_heat_map(
    model: nn.Module,
    images_BCHW: Tensor,
    targets_B: Tensor,
    *,
    std: Sequence[float],
    size: int = 15,
    strength: float = DEFAULT_STRENGTH,
    seed: int = 0,
    batch_size: int = 32,
    advance: Callable[[int], Any] | None = None,
) -> NamedArray:
    """Error rate under added waves, for the lowest ``size`` x ``size`` frequencies.

    Args:
        model: see ``spanetv2.analysis.filtered.top1``.
        images_BCHW: normalised images.
        targets_B: their labels, as indices of outputs.
        std: what the images' channels were divided by, to know what a pixel value is.
        size: odd number of frequencies per axis, around 0; no more than the image has.
        strength: root mean square of the wave per channel, in units of pixel values 0..1. Values
            beyond 0..1 are not clipped.
        seed: of the random sign per image and channel.
        batch_size: images per forward pass.
        advance: called with the number of images done.

    Returns:
        Error rates over ``i`` and ``j``, the waves' numbers of periods over the image's height and
        width. (i, j) and (-i, -j) are the same wave and are measured once.

    Raises:
        UserError: a size that is even or too large, a strength that is not positive, or labels that
            do not fit.

    Source: Yin et al. 2019, A Fourier perspective on model robustness.
    """
    height, width = images_BCHW.shape[2:]
    if size < 1 or size % 2 == 0 or size > min(height, width):
        raise UserError(
            f"got a heat map of {size} x {size} frequencies, expected an odd number up to "
            f"{min(height, width)}, the image's side"
        )
    if len(std) != images_BCHW.shape[1]:
        raise UserError(f"got {len(std)} values of std for {images_BCHW.shape[1]} channels")
    offset = (0.0,) * len(std)
    score = top1_score(model, images_BCHW, targets_B, std=std, offset=offset, batch_size=batch_size)
    return wave_errors(score, size=size, strength=strength, seed=seed, advance=advance)


def wave_errors(
    score: Score,
    *,
    size: int = 15,
    strength: float = DEFAULT_STRENGTH,
    seed: int = 0,
    advance: Callable[[int], Any] | None = None,
) -> NamedArray:
    """What any score lacks of 1 under added waves; see ``fourier_heat_map``.

    Args:
        score: of the network.
        size: odd number of frequencies per axis, no more than the images have.
        strength: root mean square of the wave per channel, in units of pixel values 0..1.
        seed: of the random sign per image and channel.
        advance: called with the number of images done.

    Raises:
        UserError: a strength that is not positive, or outputs that cannot be scored.
    """
    if not strength > 0:
        raise UserError(f"got strength {strength}, expected a positive root mean square")
    half = size // 2
    found = np.full((size, size), np.nan)
    std = torch.tensor(score.std)
    for i in range(-half, half + 1):
        for j in range(-half, half + 1):
            if np.isfinite(found[half - i, half - j]):
                found[half + i, half + j] = found[half - i, half - j]
                continue
            generator = torch.Generator().manual_seed(seed)

            def disturb(
                x: Tensor, i: int = i, j: int = j, g: torch.Generator = generator
            ) -> Tensor:
                height, width = x.shape[2:]
                wave = fourier_image((height, width), i, j).float()
                sign = torch.randint(0, 2, x.shape[:2], generator=g).float() * 2 - 1
                amount_BC = (sign * strength * (height * width) ** 0.5 / std).to(x)
                return x + amount_BC[:, :, None, None] * wave.to(x)

            found[half + i, half + j] = 1 - score.measure(disturb)
            if advance is not None:
                advance(score.images)
    axis = list(range(-half, half + 1))
    unit = "error rate" if score.title == "top-1" else f"1 - {score.title}"
    return NamedArray(found, ("i", "j"), {"i": axis, "j": axis}, unit)
