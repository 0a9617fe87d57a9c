"""Accuracy when the input keeps only its low or only its high frequencies.

Shape suffixes: B images, C channels, H and W in pixels. Frequencies are in radians per pixel.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from spanetv2.analysis.arrays import NamedArray
from spanetv2.analysis.score import Score, check_labels, top1, top1_score
from spanetv2.errors import UserError
from spanetv2.theory.grid import frequencies

__all__ = [
    "DEFAULT_RADII",
    "check_labels",
    "filter_images",
    "filtered_accuracy",
    "filtered_score",
    "top1",
]

DEFAULT_RADII = tuple(np.pi * f for f in (1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4))


def filter_images(
    images_BCHW: Tensor, radius: float, band: Literal["low", "high"], mean_C: Tensor | None = None
) -> Tensor:
    """Keep the frequencies |w| <= radius (low), or all others plus the mean image (high).

    Args:
        images_BCHW: images; filtering normalised images is the same as normalising filtered ones.
        radius: in radians per pixel.
        band: "low" or "high".
        mean_C: mean image that is added back to high-pass images, one value per channel; by
            default the mean of all images' pixels. A mean of pixels, not of images: with few
            images the latter would hand each of them a part of its own low frequencies back.

    Returns:
        Images of the same shape.

    Raises:
        UserError: a negative radius or an unknown band.

    Example:
        >>> x = torch.rand(2, 3, 8, 8)
        >>> low, high = filter_images(x, 1.0, "low"), filter_images(x, 1.0, "high", torch.zeros(3))
        >>> bool(torch.allclose(low + high, x, atol=1e-6))
        True
    """
    if band not in ("low", "high"):
        raise UserError(f"got band {band!r}, expected 'low' or 'high'")
    if not radius >= 0:
        raise UserError(f"got a radius of {radius}, expected radians per pixel from 0 up")
    distance = np.hypot(*frequencies(images_BCHW.shape[2], images_BCHW.shape[3]))
    # The rounding of a frequency must not decide whether a wave on the circle is kept.
    inside = torch.from_numpy(distance <= radius + 1e-9).to(images_BCHW.device)
    low = torch.fft.ifft2(torch.fft.fft2(images_BCHW) * inside).real
    if band == "low":
        return low
    mean = images_BCHW.mean(dim=(0, 2, 3)) if mean_C is None else mean_C.to(images_BCHW)
    return images_BCHW - low + mean[:, None, None]


def filtered_accuracy(
    model: nn.Module,
    images_BCHW: Tensor,
    targets_B: Tensor,
    *,
    radii: Sequence[float] = DEFAULT_RADII,
    batch_size: int = 32,
    advance: Callable[[int], Any] | None = None,
) -> NamedArray:
    """Top-1 accuracy under low- and high-pass filtered input against the radius.

    Args:
        model: see ``top1``.
        images_BCHW: normalised images.
        targets_B: their labels, as indices of outputs.
        radii: in radians per pixel, ascending.
        batch_size: images per forward pass.
        advance: called with the number of images done.

    Returns:
        Accuracies (0 to 1) over ``band`` (low, high) and ``radius``. Beyond the largest frequency
        (pi sqrt 2) low-pass input is the whole image.

    Raises:
        UserError: see ``top1``; no radii.
    """
    score = top1_score(
        model,
        images_BCHW,
        targets_B,
        std=(1.0,) * images_BCHW.shape[1],
        offset=(0.0,) * images_BCHW.shape[1],
        batch_size=batch_size,
    )
    return filtered_score(score, radii=radii, advance=advance)


def filtered_score(
    score: Score,
    *,
    radii: Sequence[float] = DEFAULT_RADII,
    advance: Callable[[int], Any] | None = None,
) -> NamedArray:
    """Any score of predictions under low- and high-pass filtered input against the radius.

    Args:
        score: of the network.
        radii: in radians per pixel, ascending.
        advance: called with the number of images done.

    Returns:
        Scores (0 to 1) over ``band`` and ``radius``; see ``filtered_accuracy``.

    Raises:
        UserError: no radii, or outputs that cannot be scored.
    """
    if not radii or list(radii) != sorted(radii):
        raise UserError(f"got radii {list(radii)}, expected ascending radians per pixel")
    bands: tuple[Literal["low", "high"], ...] = ("low", "high")
    found = np.zeros((2, len(radii)))
    for i, band in enumerate(bands):
        for j, radius in enumerate(radii):
            found[i, j] = score.measure(
                lambda x, radius=radius, band=band: filter_images(x, radius, band, score.mean)
            )
            if advance is not None:
                advance(score.images)
    return NamedArray(
        found, ("band", "radius"), {"band": list(bands), "radius": list(radii)}, score.title
    )
