"""Masks as run lengths: small however large the image is.

Shape suffixes: N objects, M side of a predicted mask, H and W rows and columns of the image. A mask
is predicted relative to its box, as M x M probabilities.
"""

from collections.abc import Iterator
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor
from torchvision.models.detection.roi_heads import expand_boxes, paste_masks_in_image

__all__ = ["RunLengths", "decode_mask", "encode_masks", "encode_pixels", "mask_windows"]

_THRESHOLD = 0.5


class RunLengths(TypedDict):
    """A mask in COCO's compressed form."""

    size: list[int]
    """rows and columns of the image"""
    counts: str
    """lengths of the runs of 0 and 1, column by column"""


def encode_masks(masks_N1MM: Tensor, boxes_N4: Tensor, size: tuple[int, int]) -> list[RunLengths]:
    """Put predicted masks into their image, one at a time, and encode them.

    Args:
        masks_N1MM: probabilities relative to the boxes.
        boxes_N4: (x1, y1, x2, y2) in pixels of the image.
        size: rows and columns of the image.

    Returns:
        One mask per object: its pixels with a probability of at least one half.
    """
    pixels_HW = np.zeros(size, dtype=np.uint8, order="F")
    encoded = []
    for top, left, window in mask_windows(masks_N1MM, boxes_N4, size):
        rows, columns = window.shape
        place = (slice(top, top + rows), slice(left, left + columns))
        pixels_HW[place] = window
        encoded.append(_plain(_tools().encode(pixels_HW)))
        pixels_HW[place] = 0
    return encoded


def encode_pixels(masks_NHW: Tensor) -> list[RunLengths]:
    """Encode masks given as pixels, which are part of the object where they are not 0."""
    return [
        _plain(_tools().encode(np.asfortranarray(mask_HW.ne(0).cpu().numpy().astype(np.uint8))))
        for mask_HW in masks_NHW
    ]


def decode_mask(mask: RunLengths) -> np.ndarray:
    """A mask's pixels, (H, W) of bool."""
    return _tools().decode(mask).astype(bool)


def mask_windows(
    masks_N1MM: Tensor, boxes_N4: Tensor, size: tuple[int, int]
) -> Iterator[tuple[int, int, np.ndarray]]:
    """The pixels of predicted masks, each within the smallest window of the image that holds it.

    Args:
        masks_N1MM: probabilities relative to the boxes.
        boxes_N4: (x1, y1, x2, y2) in pixels of the image.
        size: rows and columns of the image.

    Yields:
        Top row and left column of the window, and its pixels (bool).
    """
    masks_N1MM, boxes_N4 = masks_N1MM.cpu().float(), boxes_N4.cpu().float()
    side = masks_N1MM.shape[-1]
    # torchvision pads a mask by one cell on each side and enlarges its box with it
    outer_N4 = expand_boxes(boxes_N4, (side + 2) / side).to(torch.int64)
    rows, columns = size
    for i, (x1, y1, x2, y2) in enumerate(outer_N4.tolist()):
        left, top = min(max(x1, 0), columns - 1), min(max(y1, 0), rows - 1)
        window = (max(1, min(y2 + 1, rows) - top), max(1, min(x2 + 1, columns) - left))
        shift = torch.tensor([left, top, left, top], dtype=torch.float32)
        pasted = paste_masks_in_image(masks_N1MM[i : i + 1], boxes_N4[i : i + 1] - shift, window)
        yield top, left, (pasted[0, 0] >= _THRESHOLD).numpy()


def _plain(encoded: Any) -> RunLengths:
    counts = encoded["counts"]
    return {
        "size": [int(side) for side in encoded["size"]],
        "counts": counts.decode("ascii") if isinstance(counts, bytes) else counts,
    }


def _tools() -> Any:
    from faster_coco_eval.core import mask

    return mask
