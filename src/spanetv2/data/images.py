"""Reading an image file: the right pixels where they can be had, one clear reason otherwise.

Every image becomes 8-bit ``L`` (grey) or ``RGB``, upright and opaque:

- the content decides, not the file name's ending; only bitmap formats in ``FORMATS`` are tried
  (others in Pillow run external programs or accept anything);
- 16-bit grey is scaled by the data set's white value, 65535 unless told, rather than clipped;
  float images must lie in 0..1 or 0..255;
- CMYK, YCbCr, palette and bilevel images are converted;
- transparent pixels are laid over white;
- of an animation, or a file of several pages, the first picture is taken;
- the EXIF orientation is applied;
- Pillow's decompression-bomb limit stays unless another is given, and its warning is a refusal as
  much as its error.
"""

import contextlib
import functools
import importlib.util
import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps, TiffImagePlugin

from spanetv2.errors import UserError
from spanetv2.extras import install
from spanetv2.text import one_line

__all__ = [
    "EIGHT_BIT_EXTENSIONS",
    "EXTENSIONS",
    "FORMATS",
    "HEIC_EXTENSIONS",
    "UNREAD_EXTENSIONS",
    "WHITES",
    "Failure",
    "ImageError",
    "check_file",
    "image_orientation",
    "is_deep",
    "known_formats",
    "open_image",
    "opening",
    "read_image",
    "to_eight_bit",
    "unread_reason",
]

FORMATS = (
    *("JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "ICO"),
    "HEIF",
)
"""Pillow's names of the formats that are tried; HEIF where pillow-heif is installed."""

HEIC_EXTENSIONS = frozenset({".heic", ".heif", ".hif"})
"""Lower-case endings of what telephones write, which Pillow reads by way of pillow-heif."""

_HAS_HEIF = importlib.util.find_spec("pillow_heif") is not None

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".webp", ".avif", ".bmp", ".dib"}
    | {".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".ico"}
    | (HEIC_EXTENSIONS if _HAS_HEIF else frozenset())
)
"""Lower-case endings by which files in a folder are taken for images."""

EIGHT_BIT_EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".gif", ".webp", ".bmp", ".dib", ".ico"}
)
"""Lower-case endings of formats that never hold grey values of more than 8 bits."""

WHITES = (255, 1023, 4095, 16383, 65535)
"""White values of grey images with more than 8 bits: those of 8, 10, 12, 14 and 16."""

UNREAD_EXTENSIONS = (
    frozenset(
        (HEIC_EXTENSIONS | {".jxl", ".jpf", ".jpx", ".psd", ".exr"})
        | {".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".dcm", ".tga"}
    )
    - EXTENSIONS
)
"""Lower-case endings of pictures that are not read: such files are named, not passed over."""


def unread_reason(ending: str) -> str:
    """Why files of an ending are not read, and what to do.

    Example:
        >>> unread_reason(".psd")
        'files ending in .psd are not read; convert them to PNG or JPEG'
    """
    how = "convert them to PNG or JPEG"
    if ending.lower() in HEIC_EXTENSIONS:
        how = f"install pillow-heif ({install('pillow_heif')}), or convert them to JPEG"
    return f"files ending in {ending} are not read; {how}"


class Failure(NamedTuple):
    """A file that could not be read."""

    path: str
    reason: str


class ImageError(UserError):
    """One image could not be read.

    Attributes:
        path: the file, or ``dataset[index]`` where there is no file.
        reason: what is wrong with it, without the path.
    """

    def __init__(self, path: str, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple[type["ImageError"], tuple[str, str]]:
        # Exceptions are rebuilt from ``args`` by default, which holds the one joined message.
        return ImageError, (self.path, self.reason)


def read_image(
    source: str | os.PathLike[str] | IO[bytes],
    *,
    name: str | None = None,
    white: int | None = None,
    max_pixels: int | None = None,
) -> Image.Image:
    """Read one image file.

    Args:
        source: a path, or a binary file object open at the image's first byte.
        name: what to call the image in messages; the path by default.
        white: value of white in grey images of more than 8 bits; None is 65535.
        max_pixels: most pixels of an image; None is Pillow's limit.

    Returns:
        A loaded Pillow image of mode ``L`` or ``RGB``, upright and opaque.

    Raises:
        ImageError: the file is missing, empty, not an image, damaged, too large, or of a kind of
            pixel with no defined white.
    """
    if isinstance(source, str | os.PathLike):
        source = Path(source)
        name = name or str(source)
        check_file(source, name)
    else:
        name = name or str(getattr(source, "name", "image"))
    with (
        opening(name, max_pixels=max_pixels),
        open_image(source) as opened,
    ):
        opened.load()
        return to_eight_bit(opened, white=white)


def open_image(
    source: str | os.PathLike[str] | IO[bytes], *, formats: tuple[str, ...] | None = None
) -> Image.Image:
    """Open an image, whose size until it is decoded is that of the stored pixels.

    Pillow gives TIFFs that lie on their side (EXIF orientations 5 to 8) the size as shown before
    they are turned, and then cuts uncompressed ones into rows of that width, which scrambles them.

    Args:
        source: a path, or a binary file object open at the image's first byte.
        formats: Pillow's names of those allowed; by default all that are known.
    """
    opened = Image.open(source, formats=formats or known_formats())
    if isinstance(opened, TiffImagePlugin.TiffImageFile):
        opened._size = opened._tile_size
    return opened


@contextlib.contextmanager
def opening(name: str, *, max_pixels: int | None = None, quiet: bool = True) -> Iterator[None]:
    """Around opening or decoding an image: whatever goes wrong becomes an ``ImageError``.

    Args:
        name: what to call the image in messages.
        max_pixels: most pixels of an image; None is Pillow's limit.
        quiet: silence remarks about metadata, and make the bomb warning an error; not for use in
            threads, as the filters are the whole process's.

    Raises:
        ImageError: what went wrong.
    """
    try:
        with _decoder_warnings(max_pixels) if quiet else contextlib.nullcontext():
            yield
    except ImageError as error:
        raise ImageError(name if not error.path else error.path, error.reason) from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ImageError(name, _too_large(str(error), max_pixels)) from None
    except Image.UnidentifiedImageError:
        if (ending := Path(name).suffix).lower() in UNREAD_EXTENSIONS:
            raise ImageError(name, unread_reason(ending)) from None
        known = ", ".join(known_formats())
        raise ImageError(
            name, f"not an image in a known format and kind of pixel ({known})"
        ) from None
    except MemoryError:
        raise ImageError(name, "not enough memory to decode it") from None
    except Exception as error:  # damaged files make decoders raise nearly anything
        detail = one_line(error) or type(error).__name__
        raise ImageError(name, f"damaged or truncated image ({detail})") from None


def _too_large(said: str, max_pixels: int | None) -> str:
    found = re.search(r"\((\d+) pixels\)", said)
    if found is None:
        return f"refused as a possible decompression bomb; shrink it first ({said})"
    limit = max_pixels or Image.MAX_IMAGE_PIXELS or 0
    return (
        f"refused as a possible decompression bomb: {int(found[1]):,} pixels, expected at most "
        f"{limit:,}; shrink it, or, for a file that you trust, raise the limit: "
        f"--max-pixels {found[1]} (with --overwrite where --out has results of another limit), in "
        f"training --data.max_pixels {found[1]}"
    )


def is_deep(mode: str) -> bool:
    """Whether pixels of a Pillow mode are grey with more than 8 bits, so that white must be known.

    Example:
        >>> is_deep("I;16"), is_deep("RGB")
        (True, False)
    """
    return mode.startswith("I")


def to_eight_bit(image: Image.Image, *, white: int | None = None) -> Image.Image:
    """Turn any Pillow image into an upright, opaque, 8-bit ``L`` or ``RGB`` image.

    Args:
        image: a Pillow image of any mode.
        white: value of white in grey images of more than 8 bits; None is 65535.

    Returns:
        A new image of mode ``L`` if the input has one grey channel, else ``RGB``.

    Raises:
        ImageError: the pixel values have no defined black and white (its path is empty).
        ValueError: Pillow cannot convert the mode.
    """
    image = _upright(image)
    if is_deep(image.mode) or image.mode == "F":
        return _scaled_to_eight_bit(image, white or WHITES[-1])
    if image.mode == "1":
        return image.convert("L")
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        grey = image.mode in ("1", "L", "LA", "La")
        over = image.convert("RGBA")
        paper = Image.new("RGBA", over.size, (255, 255, 255, 255))
        return Image.alpha_composite(paper, over).convert("L" if grey else "RGB")
    if image.mode in ("L", "RGB"):
        return image.copy()
    return image.convert("RGB")


def image_orientation(opened: Image.Image) -> int:
    """1 to 8 from the EXIF data of an image; 1 where there is none, or a damaged one."""
    try:
        value = opened.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # broken metadata does not make the pixels wrong
        return 1
    return value if value in range(1, 9) else 1


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken metadata does not make the pixels wrong
        return image


def _scaled_to_eight_bit(image: Image.Image, deep_white: float) -> Image.Image:
    values = np.asarray(image).astype(np.float64)
    low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    white = float(deep_white)
    if image.mode == "F":
        white = 1.0 if high <= 1 else 255.0
    elif low >= 0 and white < high <= WHITES[-1]:
        # Brighter than what the weights were trained on is white.
        values, high = np.minimum(values, white), white
    if not (low >= 0 and high <= white):  # so written, not-a-number is refused too
        reason = f"{image.mode} pixels from {low:g} to {high:g}, expected 0 to {white:g}"
        raise ImageError("", f"{reason}; convert the file to 8 or 16 bits")
    return Image.fromarray(np.rint(values * (255.0 / white)).astype(np.uint8))


def check_file(path: Path, name: str) -> None:
    """Refuse what is no file, or an empty one, without opening it.

    Raises:
        ImageError: saying what it is.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise ImageError(name, (error.strerror or str(error)).lower()) from None
    except ValueError as error:
        raise ImageError(name, str(error)) from None
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(name, "a folder, expected a file")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(name, "not a regular file")  # opening a pipe would wait for ever
    if status.st_size == 0:
        raise ImageError(name, "an empty file")
    if not os.access(path, os.R_OK):
        raise ImageError(name, "permission denied")


@functools.cache
def known_formats() -> tuple[str, ...]:
    """Those of ``FORMATS`` that this Pillow can open."""
    Image.init()
    if _HAS_HEIF:
        import pillow_heif  # pyright: ignore[reportMissingImports] - read where it is installed

        pillow_heif.register_heif_opener()
    return tuple(name for name in FORMATS if name in Image.OPEN)


@contextlib.contextmanager
def _decoder_warnings(max_pixels: int | None) -> Iterator[None]:
    """Silence remarks about metadata; make the bomb warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with _pixel_limit(max_pixels):
            yield


_limits: list[tuple[object, int | None]] = []
"""Pillow's own limit, and behind it those that are in force, each with whose it is."""
_limits_lock = threading.Lock()


@contextlib.contextmanager
def _pixel_limit(max_pixels: int | None) -> Iterator[None]:
    """Set Pillow's limit on pixels, one for all threads, and put it back after the last of them."""
    if max_pixels is None:
        yield
        return
    mine = (object(), max_pixels)
    with _limits_lock:
        if not _limits:
            _limits.append((None, Image.MAX_IMAGE_PIXELS))
        _limits.append(mine)
        Image.MAX_IMAGE_PIXELS = max_pixels
    try:
        yield
    finally:
        with _limits_lock:
            _limits.remove(mine)
            Image.MAX_IMAGE_PIXELS = _limits[-1][1]
            if len(_limits) == 1:
                _limits.clear()
