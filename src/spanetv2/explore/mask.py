"""Masks over frequencies, written as a line of text, and images seen through them.

The page keeps what was painted as such a line, in its address; this module draws the same mask, so
that the same image can be filtered in Python. A line holds steps, separated by ``;``:

- ``low:R``, ``high:R``: keep \\|w\\| <= R, or the rest; R in units of pi radians per pixel;
- ``band:R1:R2``: keep R1 < \\|w\\| <= R2;
- ``wedge:ANGLE:WIDTH``: keep waves that run along an angle, in degrees from the horizontal
  (clockwise, as rows go down), to half a width on either side; and the constant;
- ``brush:STRENGTH:RADIUS:P.Q,P.Q,...``: set the waves around places, in cycles per image (P down,
  Q to the right), to a strength from 0 to 2; a strength of 1 is the eraser;
- ``invert``: 1 less the mask, at least 0.

Every step also changes the opposite waves, so filtered images are real.

Shapes: H x W the image in pixels, entry [p, q] of a mask is the wave of p cycles down and q to the
right, in the order of ``fft2``.
"""

import numpy as np
import torch
from torch import Tensor

from spanetv2.errors import UserError
from spanetv2.theory.grid import frequencies

__all__ = ["crop_mask", "draw_mask", "filter_pixels"]

_EDGE = 1e-9  # the rounding of a frequency must not decide whether a wave on a circle is kept
_ARGUMENTS = {"low": 1, "high": 1, "band": 2, "wedge": 2, "brush": 3, "invert": 0}


def draw_mask(steps: str, size: tuple[int, int]) -> np.ndarray:
    """Draw the mask of a line of steps, (H, W), what every frequency is multiplied by.

    Args:
        steps: see the module; "" leaves every frequency as it is.
        size: height and width of the image in pixels.

    Raises:
        UserError: a step that is none of these, or has other arguments.

    Example:
        >>> draw_mask("low:0.5", (4, 4)).astype(int)[0].tolist()
        [1, 1, 0, 1]
        >>> draw_mask("brush:2:0:0.1", (4, 4)).astype(int)[0].tolist()
        [1, 2, 1, 2]
    """
    height, width = size
    mask_HW = np.ones(size)
    wy, wx = frequencies(height, width)
    radius = np.hypot(wy, wx)
    for step in filter(None, steps.split(";")):
        kind, values, places = _parse(step)
        if kind == "low":
            mask_HW *= radius <= values[0] * np.pi + _EDGE
        elif kind == "high":
            mask_HW *= radius > values[0] * np.pi + _EDGE
        elif kind == "band":
            inner, outer = (value * np.pi + _EDGE for value in values)
            mask_HW *= (radius > inner) & (radius <= outer)
        elif kind == "wedge":
            off = (np.degrees(np.arctan2(wy, wx)) - values[0] + 90) % 180 - 90
            mask_HW *= (np.abs(off) <= values[1] / 2 + _EDGE) | (radius == 0)
        elif kind == "invert":
            mask_HW = np.clip(1 - mask_HW, 0, None)
        else:
            strength, brush = values
            p, q = np.rint(wy * height / (2 * np.pi)), np.rint(wx * width / (2 * np.pi))
            for row, column in places:
                for sign in (1, -1):
                    near = np.hypot(p - sign * row, q - sign * column) <= brush + _EDGE
                    mask_HW[near] = strength
    return mask_HW


def _parse(step: str) -> tuple[str, list[float], list[tuple[int, int]]]:
    kind, *texts = step.split(":")
    try:
        if len(texts) != _ARGUMENTS[kind]:
            raise ValueError
        places = []
        if kind == "brush":
            for place in texts.pop().split(","):
                row, column = place.split(".")
                places.append((int(row), int(column)))
        values = [float(text) for text in texts]
        if not all(0 <= value <= 360 for value in values):
            raise ValueError
    except (KeyError, ValueError):
        raise UserError(
            f"got the step {step!r}, expected low:R, high:R, band:R1:R2, wedge:ANGLE:WIDTH, "
            "brush:STRENGTH:RADIUS:P.Q,... or invert"
        ) from None
    return kind, values, places


def crop_mask(mask_HW: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mask of an image of another size: the same factor at the same cycles per image.

    Waves finer than the mask holds take the factor at its edge.

    Args:
        mask_HW: from ``draw_mask``.
        size: height and width of the other image in pixels.

    Example:
        >>> crop_mask(draw_mask("low:0.5", (8, 8)), (4, 4)).astype(int)[0].tolist()
        [1, 1, 1, 1]
    """
    places = []
    for count, own in zip(size, mask_HW.shape, strict=True):
        cycles = np.rint(np.fft.fftfreq(count) * count).astype(int)
        places.append(np.clip(cycles, -(own // 2), (own - 1) // 2) % own)
    return mask_HW[np.ix_(*places)]


def filter_pixels(x_BCHW: Tensor, mask_HW: np.ndarray, fill_C: Tensor | None = None) -> Tensor:
    """See images through a mask.

    Args:
        x_BCHW: images; filtering normalised images is the same as normalising filtered ones.
        mask_HW: factor per frequency, (H, W).
        fill_C: mean colour in the images' units, of which as much is added as the mask takes from
            the images' own mean, as ``spanetv2.analysis.filtered`` does for high-pass images; None
            adds nothing.

    Returns:
        Images of the same shape.

    Raises:
        UserError: a mask of another size.
    """
    if mask_HW.shape != tuple(x_BCHW.shape[2:]):
        raise UserError(
            f"got a mask of {mask_HW.shape} for images of {tuple(x_BCHW.shape[2:])}, expected the "
            "same size; see crop_mask"
        )
    factor = torch.from_numpy(mask_HW).to(x_BCHW.device)
    y_BCHW = torch.fft.ifft2(torch.fft.fft2(x_BCHW.double()) * factor).real
    if fill_C is not None:
        y_BCHW = y_BCHW + (1 - mask_HW[0, 0]) * fill_C.to(y_BCHW)[:, None, None]
    return y_BCHW.to(x_BCHW.dtype)
