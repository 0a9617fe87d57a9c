"""How mask files say classes: by values, or by colours.

Shape suffixes: H and W rows and columns.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from PIL import Image

from spanetv2.data.images import ImageError
from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.data.class_list import ClassList
from spanetv2.tasks.segmentation.data.classes import Colour

__all__ = [
    "IGNORED",
    "MaskEncoding",
    "check_label_mode",
    "label_lookup",
    "make_encoding",
    "mask_values",
    "mask_values_of",
]

IGNORED = 255
"""The label of pixels that nobody labelled: no loss, no figure counts them."""

_ONE_CHANNEL = ("1", "L", "P")
_COLOURED = ("RGB", "RGBA")
_VOID: Colour = (224, 224, 192)
"""VOC's colour of borders that are not labelled."""


def label_lookup(num_classes: int, *, first: int) -> np.ndarray:
    """What the values 0 .. 255 of a label file mean.

    Args:
        num_classes: classes K; a file's values ``first`` .. ``first + K - 1`` are they.
        first: 0 for plain label files; 1 for ADE20K's, whose 0 means: not labelled.

    Returns:
        (256,) int16: the label, 255 for not labelled, -1 for values that mean nothing.

    Example:
        >>> label_lookup(2, first=1)[[0, 1, 2, 3, 255]].tolist()
        [255, 0, 1, -1, 255]
    """
    table = np.full(256, -1, dtype=np.int16)
    table[IGNORED] = IGNORED
    if first:
        table[:first] = IGNORED
    table[first : first + num_classes] = np.arange(num_classes)
    return table


class MaskEncoding:
    """From the pixels of a mask file to labels.

    Args:
        names: of the classes.
        lookup: label of each value, (256,); see ``label_lookup``.
        colours: label by colour, where masks may be coloured pictures.
        by_colour: palette and grey masks mean their colours, not their values.
        given: the colours that the class list itself gives.
    """

    def __init__(
        self,
        names: Sequence[str],
        lookup: np.ndarray,
        *,
        colours: Mapping[Colour, int] | None = None,
        by_colour: bool = False,
        given: Sequence[Colour | None] = (),
    ):
        self.names = list(names)
        self.lookup = lookup
        self.colours = colours
        self.by_colour = by_colour
        self.given = list(given)
        if colours is not None:
            codes = {_code(colour): label for colour, label in colours.items()}
            codes.setdefault(_code(_VOID), IGNORED)
            order = sorted(codes)
            self._codes = np.array(order, dtype=np.int64)
            self._labels = np.array([codes[code] for code in order], dtype=np.int16)

    def check_mode(self, mode: str, name: str) -> None:
        """Refuse a kind of mask that cannot be read, from its header.

        Raises:
            ImageError: naming the file.
        """
        if not (self.colours is not None and mode in _COLOURED):
            check_label_mode(mode, name)

    def labels(self, opened: Image.Image, name: str) -> np.ndarray:
        """The labels of an opened mask, (H, W) uint8.

        Raises:
            ImageError: values or colours that mean nothing.
        """
        self.check_mode(opened.mode, name)
        if opened.mode in _COLOURED:
            return self._from_colours(opened.convert("RGB"), name)
        if self.by_colour and opened.mode == "P":
            return self._from_colours(opened.convert("RGB"), name)
        values = mask_values(opened, name)
        if self.by_colour and self._only_grey():
            return self._from_colours(Image.fromarray(values).convert("RGB"), name)
        labels = self.lookup[values]
        if (labels < 0).any():
            raise ImageError(name, self._unknown_value(values, labels))
        if opened.mode == "P":
            self._check_palette(opened, values, name)
        return labels.astype(np.uint8)

    def _only_grey(self) -> bool:
        assert self.colours is not None
        return all(red == green == blue for red, green, blue in self.colours)

    def _from_colours(self, picture: Image.Image, name: str) -> np.ndarray:
        pixels = np.asarray(picture).astype(np.int64)
        codes = (pixels[..., 0] << 16) | (pixels[..., 1] << 8) | pixels[..., 2]
        places = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
        unknown = self._codes[places] != codes
        if unknown.any():
            row, column = np.argwhere(unknown)[0]
            colour = tuple(int(part) for part in pixels[row, column])
            raise ImageError(
                name,
                f"colour {colour} at row {row}, column {column} ({int(unknown.sum())} pixels of "
                f"unknown colours in all), expected the {len(self.names)} colours of the class "
                "list; add the colour's class there, or save masks without smoothed edges",
            )
        return self._labels[places].astype(np.uint8)

    def _check_palette(self, opened: Image.Image, values: np.ndarray, name: str) -> None:
        """Refuse a palette that shows a class in the colour of another."""
        owners = {colour: i for i, colour in enumerate(self.given) if colour is not None}
        if not owners:
            return
        shown = np.array(opened.getpalette("RGB") or [], dtype=np.int64).reshape(-1, 3)
        for value in np.unique(values).tolist():
            label = int(self.lookup[value])
            if label == IGNORED or value >= len(shown):
                continue
            red, green, blue = (int(part) for part in shown[value])
            owner = owners.get((red, green, blue), label)
            if owner != label:
                raise ImageError(
                    name,
                    f"value {value}, class {self.names[label]!r}, has the colour that the class "
                    f"list gives {self.names[owner]!r}; put the class list in the order of the "
                    "values, or read colours with masks colours (--data.masks colours)",
                )

    def _unknown_value(self, values: np.ndarray, labels: np.ndarray) -> str:
        row, column = np.argwhere(labels < 0)[0]
        meant = np.flatnonzero(self.lookup >= 0)
        known = [int(v) for v in meant if self.lookup[v] != IGNORED]
        ignored = [str(v) for v in meant if self.lookup[v] == IGNORED]
        run = known == list(range(known[0], known[-1] + 1))
        expected = f"{known[0]} to {known[-1]}" if run else ", ".join(map(str, known))
        unlabelled = f", or {' or '.join(ignored)} for not labelled" if ignored else ""
        return (
            f"value {values[row, column]} at row {row}, column {column} "
            f"({int((labels < 0).sum())} such pixels in all), expected {expected} "
            f"for the {len(self.names)} classes{unlabelled}{self._hint(values, known)}"
        )

    def _hint(self, values: np.ndarray, known: list[int]) -> str:
        found = np.unique(values).tolist()
        inside = [value for value in found if value != IGNORED]
        count = len(self.names)
        if known[0] == 0 and min(inside) >= 1 and max(inside) == count:
            return "; labels that count from 1 are read with mask values 1 (--data.mask_values 1)"
        if len(found) == count and max(found) > count:
            listed = str(found).replace(" ", "")
            return f"; if these are the classes in order: --data.mask_values {listed}"
        if inside == list(range(inside[0], inside[-1] + 1)) and len(inside) > count:
            return "; if the numbers count objects, write the number of the object's class instead"
        return ""


def make_encoding(
    listed: ClassList,
    *,
    first: int,
    values: int | Sequence[int] | None = None,
    masks: Literal["auto", "values", "colours"] = "auto",
) -> MaskEncoding:
    """How the masks of a data set are read.

    Args:
        listed: its class list.
        first: value of the first class where nothing else is said.
        values: the value of each class, or of the first one, instead.
        masks: auto takes coloured pictures by colour, and the rest by value unless the class list
            says that a class is its colour.

    Raises:
        UserError: values that do not fit the classes, or colours asked for and not given.
    """
    count = len(listed.names)
    if values is None:
        values = listed.values
    if values is None or isinstance(values, int):
        begin = first if values is None else values
        if not 0 <= begin <= 256 - count:
            raise UserError(f"got mask values from {begin} on, expected 0 to {256 - count}")
        lookup = label_lookup(count, first=begin)
    else:
        if len(values) != count or len(set(values)) < count or not set(values) <= {*range(256)}:
            raise UserError(
                f"got mask values {list(values)} for the {count} classes "
                f"{', '.join(listed.names[:5])}, expected a different one from 0 to 255 for each"
            )
        lookup = np.full(256, -1, dtype=np.int16)
        lookup[IGNORED] = IGNORED
        lookup[list(values)] = np.arange(count)
    table = None if masks == "values" else listed.colour_table
    if masks == "colours" and table is None:
        raise UserError(
            "got masks colours, but the class list does not give every class a colour of its own; "
            "write it after each name, as in: weed #d55e00"
        )
    return MaskEncoding(
        listed.names,
        lookup,
        colours=table,
        by_colour=table is not None and (listed.by_colour or masks == "colours"),
        given=[] if masks == "values" else listed.given,
    )


def mask_values(opened: Image.Image, name: str) -> np.ndarray:
    """The values of a mask of one channel, (H, W) uint8.

    Raises:
        ImageError: values outside 0 to 255.
    """
    values = np.asarray(opened)
    if values.dtype == np.uint8:
        return values
    if values.dtype != np.bool_ and (values.min() < 0 or values.max() > 255):
        hint = ""
        if values.max() > 255 and len(np.unique(values)) <= 4096:
            hint = "; numbers of objects (instance masks) have to become those of their classes"
        raise ImageError(name, f"values up to {values.max()}, expected labels from 0 to 255{hint}")
    return values.astype(np.uint8)


def mask_values_of(text: str) -> int | list[int]:
    """Mask values as typed: ``0`` for the first class, ``0,255`` for each.

    Raises:
        UserError: not whole numbers.
    """
    try:
        values = [int(part) for part in text.strip("[] ").split(",")]
    except ValueError:
        raise UserError(
            f"got mask values {text!r}, expected a number, or one for each class as in 0,255"
        ) from None
    return values if "," in text or "[" in text else values[0]


def check_label_mode(mode: str, name: str) -> None:
    """Refuse an image of more than one channel.

    Raises:
        ImageError: naming the file.
    """
    if mode in _ONE_CHANNEL or mode.startswith("I"):
        return
    channels = len(Image.new(mode, (1, 1)).getbands())
    raise ImageError(
        name,
        f"a picture of {channels} channels ({mode}), expected labels: one channel (a grey or "
        "palette PNG) whose values are class numbers; if its colours are classes, give each its "
        "colour in the class list, as in: weed #d55e00",
    )


def _code(colour: Colour) -> int:
    red, green, blue = colour
    return (red << 16) | (green << 8) | blue
