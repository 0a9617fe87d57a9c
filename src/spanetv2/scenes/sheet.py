"""A picture of scenes with what is known about them."""

import colorsys
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from spanetv2.drawing import save_picture
from spanetv2.scenes.annotate import coco_annotations
from spanetv2.scenes.compose import Scene
from spanetv2.scenes.material import CLASSES

__all__ = ["contact_sheet"]

_GAP = 6


def contact_sheet(
    scenes: Sequence[Scene], out: str | os.PathLike[str], *, columns: int = 4
) -> None:
    """Draw scenes, each above its classes, boxes and instances' outlines.

    Args:
        scenes: of one size, at least one.
        out: the PNG to write.
        columns: scenes side by side.
    """
    side = scenes[0].labels.shape[0]
    columns = min(columns, len(scenes))
    rows = -(-len(scenes) // columns)
    size = (columns * (side + _GAP) - _GAP, rows * (2 * side + 2 * _GAP) - _GAP)
    sheet = Image.new("RGB", size, "white")
    for place, scene in enumerate(scenes):
        left, top = place % columns * (side + _GAP), place // columns * (2 * side + 2 * _GAP)
        sheet.paste(Image.fromarray(scene.image), (left, top))
        sheet.paste(_explained(scene), (left, top + side + 2))
    save_picture(sheet, out)


def _explained(scene: Scene) -> Image.Image:
    drawn_HWC = _palette()[scene.labels]
    for instance in scene.instances:
        inside_HW = instance.mask.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                inside_HW &= np.roll(instance.mask, step, axis)
        drawn_HWC[instance.mask & ~inside_HW] = 255
    picture = Image.fromarray(drawn_HWC)
    pen = ImageDraw.Draw(picture)
    for one in coco_annotations(scene, image_id=1, first_id=1):
        left, top, width, height = one["bbox"]
        pen.rectangle((left, top, left + width - 1, top + height - 1), outline=(150, 150, 150))
        pen.text((left + 3, top + 1), CLASSES[one["category_id"]], fill="white")
    return picture


def _palette() -> np.ndarray:
    hues = (colorsys.hsv_to_rgb(i / 10, 0.75, 0.8) for i in range(10))
    return np.rint(255 * np.array([(0.12, 0.12, 0.12), *hues])).astype(np.uint8)
