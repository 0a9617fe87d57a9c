"""Image files from a few numbers, sound or damaged; written by Pillow and by hand."""

import contextlib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image, ImageOps

__all__ = [
    "FORMATS",
    "PICTURE",
    "damage",
    "damages",
    "names",
    "picture_recipes",
    "seldom",
    "shown_size",
    "write_picture",
]

FORMATS = {
    # ending -> Pillow's format, modes it can hold
    ".png": ("PNG", ("L", "RGB", "RGBA", "LA", "P", "1", "I;16")),
    ".jpg": ("JPEG", ("L", "RGB", "CMYK")),
    ".bmp": ("BMP", ("L", "RGB", "P", "1")),
    ".gif": ("GIF", ("L", "P")),
    ".tif": ("TIFF", ("L", "RGB", "RGBA", "F", "I;16", "CMYK", "1")),
    ".webp": ("WEBP", ("RGB", "RGBA")),
    ".ppm": ("PPM", ("L", "RGB", "1")),
}

Recipe = dict[str, Any]

PICTURE: Recipe = {
    "ending": ".png",
    "mode": "L",
    "size": [28, 28],
    "seed": 1,
    "orientation": 1,
    "damage": [],
}
"""A sound one."""

names = st.one_of(
    st.sampled_from(["a", "b", "image 1", "ä", "日本", "a.b", "-x", "--out", "[1]", "*", "A"]),
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12),
).filter(lambda name: name not in (".", ".."))
"""Stems of file names, without their ending."""

damages = st.lists(
    st.one_of(
        st.tuples(st.just("flip"), st.floats(0, 1), st.integers(0, 7)),
        st.tuples(st.just("cut"), st.floats(0, 1), st.just(0)),
        st.tuples(st.just("byte"), st.floats(0, 1), st.integers(0, 255)),
        st.tuples(st.just("zeros"), st.floats(0, 1), st.integers(1, 64)),
        st.tuples(st.just("insert"), st.floats(0, 1), st.integers(1, 64)),
        st.tuples(st.just("empty"), st.just(0.0), st.just(0)),
    ).map(list),
    max_size=3,
)
"""What happens to a file's bytes, one after the other: kind, place as a share, number."""


def seldom(other: st.SearchStrategy[Any], usual: Any, *, one_in: int = 6) -> st.SearchStrategy[Any]:
    """Mostly the usual value: inputs with everything odd are refused at once, and show little."""
    return st.integers(1, one_in).flatmap(lambda n: other if n == one_in else st.just(usual))


def damage(data: bytes, steps: list[Any]) -> bytes:
    """Bytes after a list of ``damages``."""
    changed = bytearray(data)
    for kind, share, number in steps:
        place = min(int(share * len(changed)), max(len(changed) - 1, 0))
        if kind == "empty":
            changed = bytearray()
        elif not changed:
            continue
        elif kind == "flip":
            changed[place] ^= 1 << number
        elif kind == "cut":
            del changed[place:]
        elif kind == "byte":
            changed[place] = number
        elif kind == "zeros":
            changed[place : place + number] = bytes(len(changed[place : place + number]))
        else:
            changed[place:place] = bytes(range(number))
    return bytes(changed)


@st.composite
def picture_recipes(draw: Any, *, sound: bool = False, sides: tuple[int, int] = (1, 40)) -> Recipe:
    """A picture: ending, mode, size, seed of its pixels, EXIF orientation, damages."""
    ending = draw(st.sampled_from(sorted(FORMATS)))
    return {
        "ending": ending,
        "mode": draw(st.sampled_from(FORMATS[ending][1])),
        "size": [draw(st.integers(*sides)), draw(st.integers(*sides))],
        "seed": draw(st.integers(0, 9)),
        "orientation": draw(st.sampled_from([1, 1, 1, 2, 3, 5, 6, 8])),
        "damage": [] if sound else draw(seldom(damages, [])),
    }


def shown_size(path: Path) -> tuple[int, int] | None:
    """Width and height of an image as shown; None where Pillow cannot decode it."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            size = image.size  # of TIFFs, Pillow has turned it already
            image.load()
            with contextlib.suppress(Exception):  # broken metadata does not make the pixels wrong
                return size if image.format == "TIFF" else ImageOps.exif_transpose(image).size
            return size
    except Exception:
        return None


def write_picture(path: Path, recipe: Recipe) -> None:
    """Write a picture to a path, whose ending may be another than its format's."""
    width, height = recipe["size"]
    mode = recipe["mode"]
    random = np.random.default_rng(recipe["seed"])
    if mode == "I;16":
        image = Image.fromarray(random.integers(0, 65536, (height, width), dtype=np.uint16))
    elif mode == "F":
        image = Image.fromarray(random.random((height, width), dtype=np.float32))
    else:
        small = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        image = Image.fromarray(small).convert(mode)
    options: dict[str, Any] = {}
    if recipe["orientation"] != 1 and recipe["ending"] in (".jpg", ".png", ".webp", ".tif"):
        exif = Image.Exif()
        exif[0x0112] = recipe["orientation"]
        options["exif"] = exif
    image.save(path, format=FORMATS[recipe["ending"]][0], **options)
    path.write_bytes(damage(path.read_bytes(), recipe["damage"]))
