"""Accuracy when the input keeps only its low or only its high frequencies.

Shape suffixes: B images, C channels, H and W in pixels. Frequencies are in radians per pixel.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from spanetv2.analysis.arrays import NamedArray
from spanetv2.analysis.network import feed, logits_of, measuring, single_precision
from spanetv2.errors import UserError
from spanetv2.theory.grid import frequencies

__all__ = ["DEFAULT_RADII", "check_labels", "filter_images", "filtered_accuracy", "top1"]

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


def check_labels(targets_B: Tensor, images_BCHW: Tensor, outputs: int | None = None) -> None:
    """Refuse labels that do not belong to the images.

    Raises:
        UserError: another number of labels than images, no images, or labels off the outputs.
    """
    if len(targets_B) != len(images_BCHW) or len(images_BCHW) == 0:
        raise UserError(
            f"got {len(targets_B)} labels for {len(images_BCHW)} images, expected one per image"
        )
    if targets_B.min() < 0 or (outputs is not None and targets_B.max() >= outputs):
        raise UserError(f"got labels up to {int(targets_B.max())} for {outputs} outputs")


def top1(
    model: nn.Module,
    images_BCHW: Tensor,
    targets_B: Tensor,
    change: Callable[[Tensor], Tensor] | None = None,
    *,
    batch_size: int = 32,
) -> float:
    """Share of images whose highest output is their label.

    Args:
        model: a classifier; it is run in evaluation mode and left in its own.
        images_BCHW: normalised images.
        targets_B: their labels, as indices of outputs.
        change: applied to each batch on the model's device, in the images' precision.
        batch_size: images per forward pass.

    Raises:
        UserError: labels that do not fit, no classifier, or logits that are not finite.
    """
    check_labels(targets_B, images_BCHW)
    right = 0
    with torch.inference_mode(), measuring(model):
        for batch, target in zip(
            images_BCHW.split(batch_size), targets_B.split(batch_size), strict=True
        ):
            batch = batch.to(feed(model, batch).device)
            logits = logits_of(model, batch if change is None else change(batch))
            if not torch.isfinite(logits).all():
                raise UserError("the model's outputs are not finite; check the weights")
            if int(target.max()) >= logits.shape[1]:
                raise UserError(f"got label {int(target.max())} for {logits.shape[1]} outputs")
            right += int((logits.argmax(1).cpu() == target).sum())
    return right / len(images_BCHW)


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
    if not radii or list(radii) != sorted(radii):
        raise UserError(f"got radii {list(radii)}, expected ascending radians per pixel")
    images_BCHW = single_precision(images_BCHW)
    mean = images_BCHW.mean(dim=(0, 2, 3))
    bands: tuple[Literal["low", "high"], ...] = ("low", "high")
    found = np.zeros((2, len(radii)))
    for i, band in enumerate(bands):
        for j, radius in enumerate(radii):
            found[i, j] = top1(
                model,
                images_BCHW,
                targets_B,
                lambda x, radius=radius, band=band: filter_images(x, radius, band, mean),
                batch_size=batch_size,
            )
            if advance is not None:
                advance(len(images_BCHW))
    return NamedArray(
        found, ("band", "radius"), {"band": list(bands), "radius": list(radii)}, "top-1"
    )
