"""EXIF orientation of images whose masks were drawn on them, as shown or as stored.

An image is always read as it is shown. Its mask is taken as drawn on that, unless sizes say that it
was drawn on the pixels as stored: then it is turned like the image.
"""

from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

__all__ = ["Orientation", "OrientationCount", "settle", "turn_labels"]

Orientation = Literal["auto", "shown", "stored"]

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = range(5, 9)


class OrientationCount(NamedTuple):
    """Images whose orientation turns or mirrors them, by what sizes say of their masks."""

    shown: int = 0
    stored: int = 0
    undecided: int = 0
    """turned by 180 degrees, mirrored, or square: both fit"""

    def remark(self, orientation: Orientation) -> str:
        """What to say about them; empty where there are none."""
        count = sum(self)
        if not count:
            return ""
        if orientation == "auto":
            undecided = "stored" if settle(self) else "shown"
            stored = self.stored + (self.undecided if undecided == "stored" else 0)
            taken = f"{count - stored} masks are read as drawn on the image as shown, {stored} as "
            taken += "stored (--data.orientation shown or stored overrides it)"
        else:
            taken = f"their masks are read as drawn on the image as {orientation}"
        return f"{count} images carry an EXIF orientation that turns or mirrors them; {taken}"


def settle(count: OrientationCount) -> bool:
    """Whether masks that fit both ways are taken as stored: where all that tell say so."""
    return count.stored > 0 and count.shown == 0


def shown_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height of an image as shown, from those stored."""
    return (size[1], size[0]) if orientation in _SIDEWAYS else size


def turn_of(
    orientation: int,
    *,
    shown: tuple[int, int],
    mask: tuple[int, int],
    rule: Orientation,
    undecided_stored: bool = False,
) -> int:
    """The orientation that a mask has to be turned by: 1 for one that lies right.

    Args:
        orientation: of the image.
        shown: the image's width and height as shown.
        mask: the mask's, as stored.
        rule: what the user said.
        undecided_stored: see ``settle``.

    Example:
        >>> turn_of(6, shown=(3, 4), mask=(4, 3), rule="auto")
        6
        >>> turn_of(6, shown=(3, 4), mask=(3, 4), rule="auto")
        1
    """
    if rule != "auto":
        return orientation if rule == "stored" else 1
    if orientation in _SIDEWAYS and shown[0] != shown[1]:
        return orientation if mask == (shown[1], shown[0]) else 1
    return orientation if undecided_stored else 1


def turn_labels(labels: np.ndarray, orientation: int) -> np.ndarray:
    """Labels (H, W) turned and mirrored as viewers do with an image of this orientation."""
    if orientation == 1:
        return labels
    return np.array(Image.fromarray(labels).transpose(_TURNS[orientation]))
