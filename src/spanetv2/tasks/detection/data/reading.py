"""How annotations and images are to be read, where a data set does not say it by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from spanetv2.data.classes import EmptyClasses, keeps_empty
from spanetv2.errors import UserError

__all__ = ["Boxes", "Orientation", "Reading", "reading_of"]

Orientation = Literal["auto", "shown", "stored", "percent"]
"""Where annotations of images with an EXIF orientation were drawn. ``shown``: on the image as
programs show it. ``stored``: on its pixels as they lie in the file. ``percent``: on the image as
shown, but written as shares of it times the stored size, as Label Studio does. ``auto``: as shown,
or as stored where the sizes in the annotation file say so."""

Boxes = Literal["sizes", "corners"]
"""The four numbers of a box: left, top, width, height (COCO), or left, top, right, bottom."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a data set is read; the same for training, validation, evaluation and check-data.

    Args:
        orientation: auto, shown, stored or percent; see ``Orientation``.
        boxes: sizes or corners; see ``Boxes``.
        empty_classes: stop at a class without an object to train on, or keep it.
        masks: read masks; without, objects are boxes.
        white: value of white in grey images of more than 8 bits; None is 65535.
        max_pixels: most pixels of an image; None is Pillow's limit.

    Raises:
        UserError: another word, or a number out of range.
    """

    orientation: Orientation = "auto"
    boxes: Boxes = "sizes"
    empty_classes: EmptyClasses = "stop"
    masks: bool = True
    white: int | None = None
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in (
            ("orientation", ("auto", "shown", "stored", "percent")),
            ("boxes", ("sizes", "corners")),
        ):
            if getattr(self, name) not in allowed:
                raise UserError(
                    f"got {name} {getattr(self, name)!r}, expected one of {', '.join(allowed)}"
                )
        keeps_empty(self.empty_classes)
        for name in ("white", "max_pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"got {name} {value}, expected 1 or more")


def reading_of(options: Mapping[str, Any], **more: Any) -> Reading:
    """How data are read as the options of a command say.

    Args:
        options: option -> value; others than those of ``Reading`` are passed over.
        **more: further fields of ``Reading``.
    """
    names = ("orientation", "boxes", "empty_classes", "max_pixels")
    return Reading(**{name: options[name] for name in names if name in options}, **more)
