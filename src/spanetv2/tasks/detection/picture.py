"""Drawing what was found: masks, boxes, class names and scores over an image.

Pictures have at most 1600 pixels a side, so that a huge image costs no more than another, and tiny
images are enlarged until a name can be read.
"""

import colorsys
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from spanetv2.errors import UserError
from spanetv2.tasks.detection.masks import mask_windows

__all__ = ["class_colour", "draw_objects", "sheet"]

_LARGEST, _SMALLEST = 1600, 320
_MASK_OPACITY = 0.45
_GAP = 8


def class_colour(label: int) -> tuple[int, int, int]:
    """A colour for a class, far from those of its neighbours.

    Example:
        >>> class_colour(1) != class_colour(2)
        True
    """
    # Steps of the golden section never come back to the same hue.
    hue = (0.58 + 0.618034 * (label - 1)) % 1
    value = (1.0, 0.75)[(label // 9) % 2]
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.8, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_objects(
    image: Image.Image | Tensor,
    boxes_N4: Tensor,
    labels_N: Tensor,
    names: Sequence[str],
    *,
    scores_N: Tensor | None = None,
    masks_N1MM: Tensor | None = None,
    pixels_NHW: Tensor | None = None,
) -> Image.Image:
    """Draw objects over an image; of overlapping ones the first is on top.

    Args:
        image: Pillow image, or uint8 pixels (3, H, W).
        boxes_N4: (x1, y1, x2, y2) in pixels of the image.
        labels_N: classes from 1.
        names: of the classes.
        scores_N: 0 to 1, written behind the names; none are written by default.
        masks_N1MM: predicted masks: probabilities relative to the boxes.
        pixels_NHW: or annotated masks: pixels of the image.

    Returns:
        A picture of the image's proportions, at most 1600 pixels wide and high.

    Raises:
        UserError: a label without a name.
    """
    if len(labels_N) and not 1 <= int(labels_N.min()) <= int(labels_N.max()) <= len(names):
        raise UserError(
            f"got labels {int(labels_N.min())} to {int(labels_N.max())} and {len(names)} names"
        )
    canvas, scale = _canvas(image)
    boxes_N4 = boxes_N4.float().cpu() * scale
    pixels_HWC = np.array(canvas)
    size = pixels_HWC.shape[:2]
    windows: list[tuple[int, int, np.ndarray]] = []
    if masks_N1MM is not None:
        windows = list(mask_windows(masks_N1MM, boxes_N4, size))
    elif pixels_NHW is not None:
        windows = [(0, 0, _resized(mask_HW, size)) for mask_HW in pixels_NHW]
    order = range(len(labels_N) - 1, -1, -1)
    labels = labels_N.tolist()
    for i in order if windows else ():
        _paint(pixels_HWC, windows[i], class_colour(labels[i]))
    canvas = Image.fromarray(pixels_HWC)
    draw = ImageDraw.Draw(canvas)
    line = max(1, round(max(canvas.size) / 500))
    font = ImageFont.load_default(size=max(10, round(max(canvas.size) / 60)))
    for i in order:
        box = boxes_N4[i].tolist()
        draw.rectangle(_ordered(box), outline=class_colour(labels[i]), width=line)
    for i in order:  # names over all boxes
        text = str(names[int(labels[i]) - 1])
        if scores_N is not None:
            text += f" {100 * float(scores_N[i]):.0f} %"
        _write_name(draw, boxes_N4[i].tolist(), text, class_colour(labels[i]), font, canvas.size)
    return canvas


def sheet(rows: Sequence[Sequence[Image.Image]], *, cell: int = 320) -> Image.Image:
    """Pictures in rows, on white.

    Args:
        rows: pictures from left to right, rows from top to bottom.
        cell: side of the square that each picture is fitted into, in pixels.

    Raises:
        UserError: no picture.
    """
    if not any(rows):
        raise UserError("got no picture for a sheet, expected at least one")
    columns = max(len(row) for row in rows)
    step = cell + _GAP
    page = Image.new("RGB", (columns * step + _GAP, len(rows) * step + _GAP), "white")
    for top, row in enumerate(rows):
        for left, picture in enumerate(row):
            small = picture.copy()
            small.thumbnail((cell, cell))
            offset = ((cell - small.width) // 2, (cell - small.height) // 2)
            page.paste(small, (left * step + _GAP + offset[0], top * step + _GAP + offset[1]))
    return page


def _canvas(image: Image.Image | Tensor) -> tuple[Image.Image, Tensor]:
    if isinstance(image, Tensor):
        image = Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy())
    image = image.convert("RGB")
    longest = max(image.size)
    factor = min(1.0, _LARGEST / longest) if longest >= _SMALLEST else -(-_SMALLEST // longest)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    if size != image.size:
        resample = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.BILINEAR
        scale = (size[0] / image.width, size[1] / image.height)
        return image.resize(size, resample), torch.tensor([*scale, *scale])
    return image, torch.ones(4)


def _resized(mask_HW: Tensor, size: tuple[int, int]) -> np.ndarray:
    mask = Image.fromarray(mask_HW.ne(0).cpu().numpy().astype(np.uint8))
    return np.array(mask.resize((size[1], size[0]), Image.Resampling.NEAREST)).astype(bool)


def _paint(
    pixels_HWC: np.ndarray, window: tuple[int, int, np.ndarray], colour: tuple[int, int, int]
) -> None:
    top, left, inside = window
    view = pixels_HWC[top : top + inside.shape[0], left : left + inside.shape[1]]
    mixed = (1 - _MASK_OPACITY) * view[inside] + _MASK_OPACITY * np.array(colour)
    view[inside] = mixed.round().astype(np.uint8)
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    view[inside & ~core] = colour


def _ordered(box: list[float]) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1, y1, max(x1, x2), max(y1, y2)]


def _write_name(
    draw: ImageDraw.ImageDraw,
    box: list[float],
    text: str,
    colour: tuple[int, int, int],
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    """Write above the box if there is room, else inside, and never outside the picture."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    x = min(max(box[0], 0), max(size[0] - width, 0))
    y = box[1] - height if box[1] >= height else min(max(box[1], 0), max(size[1] - height, 0))
    draw.rectangle([x, y, x + width, y + height], fill=colour)
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    draw.text((x + 2 - left, y + 2 - top), text, fill="black" if light else "white", font=font)
