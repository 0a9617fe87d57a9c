"""Shapes drawn with textures of known spectrum.

A texture has one of ten orientations, 18 degrees apart, and one of three bands of frequencies. Even
ones are gratings, odd ones noise whose waves all lie in the band and within 9 degrees of the
orientation. All have the same root mean square.

Shape suffixes: N images, H and W in pixels. Frequencies are in radians per pixel.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spanetv2.errors import UserError
from spanetv2.theory.grid import frequencies
from studies.evidence.images import Images

__all__ = ["BANDS", "CLASSES", "Cues", "cue_images", "draw", "silhouettes", "texture"]

CLASSES = 10
BANDS = {"low": 0.25 * np.pi, "middle": 0.45 * np.pi, "high": 0.75 * np.pi}
"""Centre of every band; a band is a third of an octave to either side."""
_RATIO = 2 ** (1 / 3)
_MEAN, _CONTRAST = 0.6, 0.25  # of the textured surface, pixel values


def texture(
    kind: int, band: str, side: int, count: int, generator: torch.Generator, *, oversample: int = 4
) -> Tensor:
    """Draw textures: (count, side, side) of mean 0 and mean square 1.

    Args:
        kind: 0 to 9; the orientation is 18 degrees times it, gratings where it is even.
        band: low, middle or high.
        side: in pixels.
        count: how many.
        generator: of phases and frequencies.
        oversample: noise is cut out of a field so many times as large, whose grid of frequencies
            is so much finer.

    Raises:
        UserError: an unknown band or kind.

    Example:
        >>> drawn = texture(3, "high", 16, 2, torch.Generator().manual_seed(0))
        >>> drawn.shape, [round(float(one.square().mean()), 3) for one in drawn]
        (torch.Size([2, 16, 16]), [1.0, 1.0])
    """
    if band not in BANDS or kind not in range(CLASSES):
        raise UserError(
            f"got texture {kind} of band {band!r}, expected 0 to {CLASSES - 1} and one of "
            f"{', '.join(BANDS)}"
        )
    angle = np.pi * kind / CLASSES
    low, high = BANDS[band] / _RATIO, BANDS[band] * _RATIO
    if kind % 2 == 0:
        radius = low * (high / low) ** torch.rand(count, generator=generator)
        phase = 2 * torch.pi * torch.rand(count, generator=generator)
        at = torch.arange(side, dtype=torch.float32)
        along = at[:, None] * np.sin(angle) + at * np.cos(angle)
        drawn = torch.cos(radius[:, None, None] * along + phase[:, None, None])
    else:
        large = oversample * side
        rows, columns = frequencies(large, large)
        radius = np.hypot(rows, columns)
        off = np.abs(
            (np.arctan2(rows, columns) - angle + np.pi / 2) % np.pi - np.pi / 2
        )  # from the orientation, which -w shares
        inside = (radius >= low) & (radius <= high) & (off <= np.pi / (2 * CLASSES))
        white = torch.randn(count, large, large, generator=generator)
        field = torch.fft.ifft2(torch.fft.fft2(white) * torch.from_numpy(inside)).real
        drawn = field[:, :side, :side].float()
    drawn = drawn - drawn.mean((1, 2), keepdim=True)
    return drawn / drawn.square().mean((1, 2), keepdim=True).sqrt()


def silhouettes(pixels_NHW: Tensor, side: int) -> Tensor:
    """What of an image is object, 0 to 1, brought to a side by bilinear interpolation.

    Args:
        pixels_NHW: objects, brighter than their ground.
        side: in pixels.
    """
    spread = pixels_NHW.amax((1, 2), keepdim=True).clamp(min=1e-6)
    mask = F.interpolate(
        (pixels_NHW / spread)[:, None], size=(side, side), mode="bilinear", antialias=True
    )[:, 0]
    return (2.5 * mask).clamp(0, 1)


def draw(masks_NHW: Tensor, kinds_N: Tensor, band: str, generator: torch.Generator) -> Tensor:
    """Give every shape a texture: pixels (N, H, W), 0 where nothing is.

    Args:
        masks_NHW: from ``silhouettes``.
        kinds_N: a texture each.
        band: of all of them.
        generator: of the textures.
    """
    side = masks_NHW.shape[-1]
    surface = torch.empty_like(masks_NHW)
    for kind in range(CLASSES):
        chosen = (kinds_N == kind).nonzero()[:, 0]
        if len(chosen):
            surface[chosen] = texture(kind, band, side, len(chosen), generator)
    return masks_NHW * (_MEAN + _CONTRAST * surface)


@dataclass(frozen=True, kw_only=True, eq=False)
class Cues:
    """Images whose shape and texture are of one class, to learn from, and a test of conflicts."""

    images: Images
    """Training, and a test whose cues agree."""
    conflict_images: Tensor
    """Shape of one class, texture of another."""
    shape_labels: Tensor
    texture_labels: Tensor


def cue_images(
    source: Images, band: str, *, side: int, train: int, tests: int, seed: int = 7
) -> Cues:
    """Draw shapes of a data set with textures; the class of a training image has both cues.

    Args:
        source: shapes; those of its training images are learned from, those of its test images
            tested.
        band: of the textures.
        side: of the images, in pixels.
        train: images to learn from; a shape comes back with other textures.
        tests: images of each of the two tests.
        seed: of everything that is drawn: all networks learn from the same images.
    """
    generator = torch.Generator().manual_seed(seed)

    def shapes(images_NCHW: Tensor, labels_N: Tensor, count: int) -> tuple[Tensor, Tensor]:
        index = torch.randint(0, len(labels_N), (count,), generator=generator)
        pixels = images_NCHW[index, 0]
        return silhouettes(pixels - images_NCHW.min(), side), labels_N[index]

    masks, labels = shapes(source.train_images, source.train_labels, train)
    pixels = draw(masks, labels, band, generator)
    mean, std = float(pixels.mean()), float(pixels.std())
    agree_masks, agree = shapes(source.test_images, source.test_labels, tests)
    agreeing = draw(agree_masks, agree, band, generator)
    masks, shape = shapes(source.test_images, source.test_labels, tests)
    other = (shape + torch.randint(1, CLASSES, (tests,), generator=generator)) % CLASSES
    conflict = draw(masks, other, band, generator)
    return Cues(
        images=Images(
            train_images=((pixels - mean) / std)[:, None],
            train_labels=labels,
            test_images=((agreeing - mean) / std)[:, None],
            test_labels=agree,
            std=std,
        ),
        conflict_images=((conflict - mean) / std)[:, None],
        shape_labels=shape,
        texture_labels=other,
    )
