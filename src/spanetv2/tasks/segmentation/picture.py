"""Pictures of a segmentation: overlays with a legend, and sheets beside the truth.

Drawn by Pillow, in colours of the classes; names stand beside every colour.
"""

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from spanetv2.files import atomic_path
from spanetv2.tasks.segmentation.data.classes import Colour
from spanetv2.tasks.segmentation.data.source import IGNORED

__all__ = ["SheetRow", "label_counts", "label_image", "overlay", "sheet", "with_legend"]

_STRENGTH = 0.6
_BACK, _TEXT, _SOFT, _FRAME = (255, 255, 255), (28, 30, 33), (91, 100, 112), (120, 120, 120)
_NOTHING: Colour = (0, 0, 0)
_MOST_NAMED = 40

SheetRow = tuple[Image.Image, np.ndarray, np.ndarray]
"""An image, its true labels and the predicted ones, (H, W) uint8."""


def label_image(labels: np.ndarray, palette: Sequence[Colour]) -> Image.Image:
    """Labels (H, W) as a palette image: its values are the labels, its look the classes' colours.

    Example:
        >>> image = label_image(np.array([[0, 1]], dtype=np.uint8), [(1, 2, 3), (4, 5, 6)])
        >>> np.asarray(image).tolist(), image.convert("RGB").getpixel((1, 0))
        ([[0, 1]], (4, 5, 6))
    """
    image = Image.fromarray(labels)
    image.putpalette(_table(palette).ravel().tolist())
    return image


def overlay(
    image: Image.Image,
    labels: np.ndarray,
    palette: Sequence[Colour],
    *,
    strength: float = _STRENGTH,
) -> Image.Image:
    """Lay the classes' colours over an image; pixels that are not labelled stay as they are.

    Args:
        image: the image.
        labels: (H, W) uint8 of the same size.
        palette: colours by class.
        strength: of the colours, 0 to 1.
    """
    base = image.convert("RGB")
    colours = Image.fromarray(_table(palette)[labels])
    blended = Image.blend(base, colours, strength)
    blended.paste(base, mask=Image.fromarray(labels == IGNORED))
    return blended


def label_counts(labels: np.ndarray) -> np.ndarray:
    """Pixels of every label, (256,) for (H, W) uint8; without a wider copy, as NumPy would make."""
    return np.array(Image.fromarray(labels).histogram())


def with_legend(
    image: Image.Image, labels: np.ndarray, classes: Sequence[str], palette: Sequence[Colour]
) -> Image.Image:
    """Put a list of the classes that occur, largest first, to the right of a picture.

    Args:
        image: the picture.
        labels: (H, W) uint8, whose classes are listed.
        classes: their names.
        palette: their colours.
    """
    counts = label_counts(labels)[: len(classes)]
    order = [int(k) for k in np.argsort(-counts, kind="stable") if counts[k]]
    entries = [
        (palette[k], classes[k], f"{100 * counts[k] / labels.size:.1f} %")
        for k in order[:_MOST_NAMED]
    ]
    if len(order) > _MOST_NAMED:
        entries.append((_BACK, f"and {len(order) - _MOST_NAMED} more", ""))
    size = max(12, min(image.size) // 36)
    font = ImageFont.load_default(size)
    line, gap = int(1.6 * size), size // 2
    per_column = max(1, (image.height - 2 * gap) // line)
    columns = [entries[i : i + per_column] for i in range(0, len(entries), per_column)] or [[]]
    widths = [
        2 * line + int(max((_wide(font, f"{n}  {s}") for _, n, s in column), default=0)) + gap
        for column in columns
    ]
    result = Image.new("RGB", (image.width + sum(widths), image.height), _BACK)
    result.paste(image, (0, 0))
    draw = ImageDraw.Draw(result)
    left = image.width + gap
    for column, width in zip(columns, widths, strict=True):
        top = gap
        for colour, name, share in column:
            square = (left, top, left + size, top + size)
            draw.rectangle(square, fill=colour, outline=_FRAME if share else None)
            draw.text((left + line, top), name, fill=_TEXT, font=font)
            end = left + line + _wide(font, name + "  ")
            draw.text((end, top), share, fill=_SOFT, font=font)
            top += line
        left += width
    return result


def sheet(
    rows: Sequence[SheetRow],
    classes: Sequence[str],
    palette: Sequence[Colour],
    out: str | os.PathLike[str],
    *,
    height: int = 200,
) -> None:
    """Draw images, their true classes and the predicted ones side by side, into a PNG.

    Args:
        rows: what to show.
        classes: names by label.
        palette: colours by label.
        out: the file.
        height: of each picture, in pixels.
    """
    font = ImageFont.load_default(14)
    gap = 8
    lines = []
    for image, truth, predicted in rows:
        size = (max(1, round(image.width * height / image.height)), height)
        base = image.convert("RGB").resize(size, Image.Resampling.BILINEAR)
        panels = [base]
        for labels in (truth, predicted):
            resized = Image.fromarray(labels).resize(size, Image.Resampling.NEAREST)
            panels.append(overlay(base, np.asarray(resized), palette, strength=0.85))
        lines.append(panels)
    wide = max((sum(p.width for p in panels) + 2 * gap for panels in lines), default=300)
    seen = np.unique(np.concatenate([x.ravel() for _, a, b in rows for x in (a, b)]))
    legend = [int(k) for k in seen if k < len(classes)][:_MOST_NAMED]
    placed, top = _flow(legend, classes, font, wide)
    head = 24
    total = head + len(lines) * (height + gap) + top + 26
    result = Image.new("RGB", (wide + 2 * gap, total), _BACK)
    draw = ImageDraw.Draw(result)
    widths = [panel.width for panel in lines[0]] if lines else []
    left = gap
    for width, title in zip(widths, ("image", "labelled", "predicted"), strict=False):
        draw.text((left, 4), title, fill=_TEXT, font=font)
        left += width + gap
    for i, panels in enumerate(lines):
        left = gap
        for panel in panels:
            result.paste(panel, (left, head + i * (height + gap)))
            left += panel.width + gap
    base_line = head + len(lines) * (height + gap)
    for (x, y), k in zip(placed, legend, strict=True):
        square = (gap + x, base_line + y + 2, gap + x + 13, base_line + y + 15)
        draw.rectangle(square, fill=palette[k], outline=_FRAME)
        draw.text((gap + x + 18, base_line + y), classes[k], fill=_TEXT, font=font)
    with atomic_path(out) as temporary:
        result.save(temporary, format="PNG")


def _flow(
    legend: Sequence[int], classes: Sequence[str], font: "_Font", wide: int
) -> tuple[list[tuple[int, int]], int]:
    """Places of the legend's entries, line after line, and where the last line begins."""
    places, left, top = [], 0, 0
    for k in legend:
        width = int(_wide(font, classes[k])) + 34
        if left and left + width > wide:
            left, top = 0, top + 22
        places.append((left, top))
        left += width
    return places, top


_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _wide(font: _Font, text: str) -> float:
    return font.getlength(text)


def _table(palette: Sequence[Colour]) -> np.ndarray:
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(palette)] = np.asarray(palette, dtype=np.uint8).reshape(-1, 3)
    return table
