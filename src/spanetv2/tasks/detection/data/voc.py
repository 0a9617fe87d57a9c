"""Reading Pascal VOC's XML: a file per image, with the boxes of its objects.

Corners are taken as edges in pixels, as today's tools write them.
"""

import math
from itertools import chain
from pathlib import Path
from xml.etree import ElementTree

from spanetv2.data.images import EXTENSIONS
from spanetv2.data.splits import SPLITS
from spanetv2.data.walk import files_below, is_file
from spanetv2.errors import UserError
from spanetv2.failures import describe_failure
from spanetv2.files import read_text
from spanetv2.tasks.detection.data.image_files import ImageFiles
from spanetv2.tasks.detection.data.labelled import (
    Annotated,
    LabelledData,
    LabelledObject,
    size_of,
    splits_of_folder,
)

__all__ = ["is_voc", "read_voc"]

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def is_voc(root: Path) -> bool:
    """Whether a folder holds annotations in Pascal VOC's form."""
    return any(True for _ in files_below(root, ".xml"))


def read_voc(root: Path) -> LabelledData:
    """Read a data set in Pascal VOC's form.

    Splits are those of ``ImageSets/Main``, or folders named after splits; ``difficult`` objects
    become crowds. Images beside annotated ones that have no file are taken for empty, and counted.

    Args:
        root: its folder.

    Raises:
        UserError: a file that cannot be read; it is named.
    """
    data = LabelledData()
    files = ImageFiles(root)
    read: list[Annotated] = []
    listed = _lists(root)
    for path in sorted(files_below(root, ".xml")):
        tree = _parsed(path)
        if tree.tag != "annotation":
            data.remark("XML files that are no annotations", path)
            continue
        image = _image_of(path, tree, files, root)
        objects = [_object(one, path, data) for one in tree.iter("object")]
        size = size_of(tree.findtext("size/width"), tree.findtext("size/height"))
        read.append(Annotated(path, image, size, objects))
    data.take(read, root, lambda path: _splits_of(path, root, listed), listed=bool(listed))
    known = {one.source.stem for one in read}
    known |= {image.path.stem for image in chain(*data.splits.values())}
    for name in sorted(set().union(*listed.values()) - known):
        data.remark("names in ImageSets/Main without an image, passed over", name)
    data.classes.sort()
    return data


def _parsed(path: Path) -> ElementTree.Element:
    try:
        # Expat, from 2.4.1 on, refuses entities that grow without bound; no others are resolved.
        return ElementTree.fromstring(path.read_bytes())  # noqa: S314
    except OSError as error:
        raise UserError(f"{describe_failure(error)}; expected Pascal VOC's annotation") from None
    except ElementTree.ParseError as error:
        raise UserError(f"{path}: not XML ({error}), expected Pascal VOC's annotation") from None


def _image_of(path: Path, tree: ElementTree.Element, files: ImageFiles, root: Path) -> Path:
    beside = [path.with_suffix(ending) for ending in sorted(EXTENSIONS)]
    beside += [root / "JPEGImages" / other.name for other in beside]
    name = tree.findtext("filename") or ""
    for place in (path.parent / name, root / "JPEGImages" / name, *beside):
        if is_file(place):
            return place
    found = files.find(f"/{name}" if name else path.stem)
    if found.fault:
        raise UserError(f"{path}: its image {name!r} was not found below {root} ({found.fault})")
    return Path(found.path)


def _object(one: ElementTree.Element, path: Path, data: LabelledData) -> LabelledObject:
    name = (one.findtext("name") or "").strip()
    if not name:
        raise UserError(f"{path}: an object without a name, expected its class")
    texts = [one.findtext(f"bndbox/{corner}") for corner in _CORNERS]
    try:
        left, top, right, bottom = (float(text or "") for text in texts)
    except ValueError:
        left = top = right = bottom = math.nan
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise UserError(f"{path}: {name} with bndbox {texts}, expected {', '.join(_CORNERS)}")
    difficult = (one.findtext("difficult") or "0").strip() == "1"
    data.remarks["difficult objects, made crowds"] += difficult
    box = (left, top, right - left, bottom - top)
    return LabelledObject(data.class_of(name), box, crowd=difficult)


def _lists(root: Path) -> dict[str, set[str]]:
    """Names of the images of each split, as ``ImageSets/Main/train.txt`` lists them."""
    found: dict[str, set[str]] = {}
    for split, names in SPLITS.items():
        for name in names:
            path = root / "ImageSets" / "Main" / f"{name}.txt"
            if is_file(path):
                lines = read_text(path, expected="an image on each line").splitlines()
                found[split] = {Path(line.split()[0]).stem for line in lines if line.strip()}
    return found


def _splits_of(path: Path, root: Path, listed: dict[str, set[str]]) -> list[str]:
    if listed:
        return [split for split, names in listed.items() if path.stem in names]
    return splits_of_folder(path, root)
