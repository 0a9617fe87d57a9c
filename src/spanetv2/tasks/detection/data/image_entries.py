"""The images of an annotation file: their files, sizes, and how they lie.

One rule for all eight EXIF orientations: annotations were drawn on the image as shown. Only where
the size in the annotation file is that of the stored pixels and not of the shown image (which can
be seen for orientations 5 to 8 alone), they were drawn on these.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from spanetv2.data.header import SIDEWAYS, ImageHeader, read_headers
from spanetv2.data.images import (
    ImageError,
    image_orientation,
    is_deep,
    open_image,
    opening,
    read_image,
)
from spanetv2.tasks.detection.data.ids import Key, OwnId
from spanetv2.tasks.detection.data.image_files import FoundFile, ImageFiles
from spanetv2.tasks.detection.data.reading import Reading
from spanetv2.tasks.detection.data.record import Problem, entry_key

__all__ = ["ImageEntry", "Images", "read_entry", "read_images", "size_fault", "whole_pixels"]

# What undoes the EXIF orientations.
_TURNED_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


class ImageEntry(NamedTuple):
    """An image of the data set."""

    own_id: OwnId
    name: str
    """as the annotation file writes it"""
    path: str
    """its file"""
    width: int
    """of the image that boxes and masks are for; 0 where nobody knows"""
    height: int
    """the same"""
    as_stored: bool = False
    """whether its pixels are taken as they are stored, whatever EXIF says"""
    written: tuple[int, int] | None = None
    """width and height that coordinates are for, where they are to be scaled"""
    fault: str | None = None
    """why the file cannot be used"""


@dataclass(kw_only=True)
class Images:
    """The images of an annotation file.

    Args:
        entries: by key, in the order of the file.
        broken: number of entries that cannot be used: what seems to refer to nothing may mean them.
        problems: what is wrong.
        turned: how many have an EXIF orientation from 2 to 8, by how they are taken.
        sizes_read: how many have no whole size in the annotation file.
        elsewhere: how files were found that do not lie where the file says -> examples.
        deep: files of grey images with more than 8 bits.
    """

    entries: dict[Key, ImageEntry] = field(default_factory=dict)
    broken: int = 0
    problems: list[Problem] = field(default_factory=list)
    turned: Counter[str] = field(default_factory=Counter)
    turned_keys: list[Key] = field(default_factory=list)
    sizes_read: int = 0
    elsewhere: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    deep: list[str] = field(default_factory=list)


def read_images(
    images: Sequence[Any],
    *,
    folder: str | os.PathLike[str],
    record: str,
    reading: Reading,
) -> Images:
    """Find the files of all images and read their headers.

    Args:
        images: entries of the annotation file.
        folder: that file names start from.
        record: how messages call the annotation file.
        reading: what the user says about the data.
    """
    result = Images()
    named: dict[Key, Mapping[str, Any]] = {}
    for place, image in enumerate(images):
        key, fault = entry_key(image, named, "image")
        if fault is None and not (isinstance(image.get("file_name"), str) and image["file_name"]):
            fault = f"image {image['id']} without file_name"
        if fault is not None:
            reason = f"images[{place}]: {fault}"
            result.problems.append(Problem(record, None, reason, "stops", "entries of images"))
            result.broken += 1
            continue
        assert key is not None
        named[key] = image
    files = ImageFiles(folder)
    found = {key: files.find(image["file_name"]) for key, image in named.items()}
    _refuse_shared(found)
    sound = [key for key, file in found.items() if not file.fault]
    headers = dict(
        zip(
            sound,
            read_headers(
                [found[key].path for key in sound], max_pixels=reading.max_pixels, progress=True
            ),
            strict=True,
        )
    )
    for key, image in named.items():
        entry = _entry(image, found[key], headers.get(key), reading, result, record)
        if entry.fault is not None:
            reason = f"{entry.fault} (image {image['id']} of {record})"
            result.problems.append(Problem(entry.path, None, reason, "stops", "image files"))
        elif found[key].how:
            pairs = result.elsewhere.setdefault(found[key].how, [])
            pairs.append((image["file_name"], str(Path(entry.path))))
        header = headers.get(key)
        if isinstance(header, ImageHeader) and entry.fault is None and header.orientation > 1:
            result.turned_keys.append(key)
        result.entries[key] = entry
    return result


def read_entry(
    path: str, size: tuple[int, int], *, as_stored: bool, reading: Reading
) -> Image.Image:
    """Read an image as RGB, turned as its annotations are.

    Args:
        path: the file.
        size: width and height that it must have then.
        as_stored: whether its pixels are taken as they are stored, whatever EXIF says.
        reading: what the user says about the data.

    Raises:
        ImageError: it cannot be read, or has another size.
    """
    image = read_image(path, white=reading.white, max_pixels=reading.max_pixels)
    if as_stored:
        with opening(path, max_pixels=reading.max_pixels), open_image(path) as opened:
            orientation = image_orientation(opened)
        if orientation in _TURNED_BACK:
            image = image.transpose(_TURNED_BACK[orientation])
    if image.size != size:
        reason = f"got {image.width} x {image.height} pixels, expected {size[0]} x {size[1]}"
        raise ImageError(path, f"{reason} as its header says")
    return image if image.mode == "RGB" else image.convert("RGB")


def _refuse_shared(files: dict[Key, FoundFile]) -> None:
    """A file that fits several names only by guessing is meant by none of them."""
    uses: dict[str, list[Key]] = {}
    for key, file in files.items():
        uses.setdefault(os.path.normpath(file.path), []).append(key)
    for path, keys in uses.items():
        if len(keys) > 1 and any(files[key].how for key in keys):
            for key in keys:
                if files[key].how:
                    reason = f"no such file; {path} could be meant, but {len(keys)} images fit it"
                    files[key] = files[key]._replace(fault=reason)


def _entry(
    image: Mapping[str, Any],
    file: FoundFile,
    header: ImageHeader | ImageError | None,
    reading: Reading,
    images: Images,
    record: str,
) -> ImageEntry:
    width, height = (whole_pixels(image.get(side)) for side in ("width", "height"))
    written = None if width is None or height is None else (width, height)
    entry = ImageEntry(image["id"], image["file_name"], file.path, *(written or (0, 0)))
    if not isinstance(header, ImageHeader):
        fault = header.reason if header is not None else file.fault
        return entry._replace(fault=fault)
    if is_deep(header.mode):
        images.deep.append(file.path)
    if written is None:
        images.sizes_read += 1
    shown, stored = header.shown, header.stored
    if written and (fault := size_fault(header, written, Path(record).name)):
        return entry._replace(fault=fault)
    as_stored = reading.orientation == "stored" or (
        reading.orientation == "auto" and written not in (None, shown)
    )
    size = stored if as_stored else shown
    scaled = None
    if reading.orientation == "percent" and (written or stored) != shown:
        scaled = written or stored
    if header.orientation > 1:
        how = "as stored" if as_stored else "as shares of the image" if scaled else "as shown"
        images.turned[how] += 1
    return entry._replace(
        width=size[0],
        height=size[1],
        as_stored=as_stored and header.orientation > 1,
        written=scaled,
    )


def whole_pixels(value: Any) -> int | None:
    """A side of an image as a whole number; None where the file says none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value < 1e9:
        return None
    return int(value) if value == int(value) else None


def size_fault(header: ImageHeader, written: tuple[int, int], record: str) -> str | None:
    """Why coordinates for an image of the written size are for another image; None if they fit.

    Args:
        header: of the image.
        written: width and height beside the coordinates.
        record: how messages call the file they stand in.
    """
    sideways = header.orientation in SIDEWAYS
    if written == header.shown or (sideways and written == header.stored):
        return None
    width, height = header.shown
    reason = f"got {width} x {height} pixels, expected {written[0]} x {written[1]} as {record} says"
    if header.orientation > 1:
        reason += f" (EXIF orientation {header.orientation})"
    if written == (height, width):
        reason += "; width and height are exchanged there"
    return reason
