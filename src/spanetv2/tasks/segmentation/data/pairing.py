"""Finding the mask of every image, by name.

``images/a/1.jpg`` belongs to ``masks/a/1.png``. Where no names are the same, a part that all masks
(or all images) share may differ, as in ``1_mask.png``, ``mask_1.png`` or ``1_sat.jpg``.
"""

import os
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from spanetv2.data.images import EXTENSIONS, Failure
from spanetv2.data.walk import walk
from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.data.source import Pair

__all__ = ["MASK_ENDINGS", "Pairing", "pair_files"]

MASK_ENDINGS = frozenset({".png", ".tif", ".tiff", ".bmp", ".gif"})
"""Lower-case endings of label files: formats that keep every value."""

_SHOWN = 3


class Pairing(NamedTuple):
    """Files that belong together, and what to say about how they were found."""

    pairs: list[Pair]
    remark: str = ""


class _Rule(NamedTuple):
    """What to take from the names of images and of masks so that they are the same."""

    image_start: str = ""
    image_end: str = ""
    mask_start: str = ""
    mask_end: str = ""

    def image_key(self, name: str) -> str | None:
        return _core(name, self.image_start, self.image_end)

    def mask_key(self, name: str) -> str | None:
        return _core(name, self.mask_start, self.mask_end)

    def __str__(self) -> str:
        image = f"{self.image_start}NAME{self.image_end}"
        return f"mask {self.mask_start}NAME{self.mask_end} belongs to image {image}"


def pair_files(
    images: Path,
    masks: Path,
    *,
    suffix: str | None = None,
    names: Collection[str] | None = None,
) -> Pairing:
    """Pair the images below one folder with the label files below another, by name.

    Args:
        images: folder of the images.
        masks: folder of the label files; the same one where masks are told by their suffix.
        suffix: end of the masks' names (before the dot) beyond that of their image; None finds
            out.
        names: the only images to take, where a file of the data set lists them.

    Raises:
        UserError: an image without a mask, a mask without an image, two images of one name,
            several masks for an image, or no pair at all.
    """
    for folder, what in ((images, "images"), (masks, "label files")):
        if not folder.is_dir():
            raise UserError(f"got no folder {folder}, expected the {what} there")
    files = list(_files(masks))
    if images == masks:
        pictures, labels = _apart(_stems(images, files), suffix, images)
    else:
        pictures = _by_name(images, _files(images), EXTENSIONS)
        labels = _by_name(masks, files, MASK_ENDINGS)
        if not labels and (photo := next((f for f in files if _ending(f) in EXTENSIONS), None)):
            raise UserError(
                f"got mask {photo}, expected a PNG: {_ending(photo)} changes values between "
                "neighbours; export the masks as PNG"
            )
    if names is not None:
        pictures = {name: path for name, path in pictures.items() if name in names}
        labels = {name: path for name, path in labels.items() if name in names}
    rule = _Rule(mask_end=suffix) if suffix is not None else _find_rule(pictures, labels)
    if suffix is not None:
        labels = {name: path for name, path in labels.items() if name.endswith(suffix)}
    keys = {rule.mask_key(name) or name: path for name, path in labels.items()}
    named = {rule.image_key(name) or name: path for name, path in pictures.items()}
    if not named.keys() <= keys.keys():
        keys, named = _as_one_spelling(keys, named)
    without = [named[key] for key in named if key not in keys]
    extra = [keys[key] for key in keys if key not in named]
    if without or extra:
        _refuse_several(pictures, labels, masks)
    if without:
        name = f"a PNG of the same name in {masks}"
        if rule != _Rule():
            name += f" ({rule})"
        raise UserError(f"got {_first(without)} without a mask, expected {name}")
    if extra:
        raise UserError(
            f"got mask {_first(extra)} without an image, expected one of the same name in {images}"
        )
    if not pictures:
        raise UserError(f"got no images in {images}, expected some, with masks in {masks}")
    pairs = [Pair(path, keys[key]) for key, path in named.items()]
    return Pairing(pairs, "" if rule == _Rule() else f"{rule} ({len(pairs)} pairs)")


# names -------------------------------------------------------------------------------------------


def _core(name: str, start: str, end: str) -> str | None:
    folder, base = posixpath.split(name)
    if not (base.startswith(start) and base.endswith(end) and len(base) > len(start) + len(end)):
        return None
    return posixpath.join(folder, base[len(start) : len(base) - len(end)])


def _find_rule(pictures: Mapping[str, str], labels: Mapping[str, str]) -> _Rule:
    """The rule that pairs most; none where names are the same or no rule pairs half of them."""
    exact = len(pictures.keys() & labels.keys())
    if exact == len(pictures) or not labels:
        return _Rule()
    best, most = _Rule(), max(exact, (len(pictures) - 1) // 2)
    for rule in dict.fromkeys([*_affixes(pictures, labels), *_shared_parts(pictures, labels)]):
        keys = {rule.mask_key(name) for name in labels} - {None}
        count = len(keys & {rule.image_key(name) for name in pictures})
        if count > most:
            best, most = rule, count
    return best


def _affixes(pictures: Iterable[str], labels: Iterable[str]) -> Iterator[_Rule]:
    """What masks have before or after the names of images, the most frequent first."""
    known = set(pictures)
    found: Counter[_Rule] = Counter()
    for name in labels:
        folder, base = posixpath.split(name)
        for cut in range(1, len(base)):
            if posixpath.join(folder, base[:cut]) in known:
                found[_Rule(mask_end=base[cut:])] += 1
            if posixpath.join(folder, base[cut:]) in known:
                found[_Rule(mask_start=base[:cut])] += 1
    return (rule for rule, _ in found.most_common(8))


def _shared_parts(pictures: Iterable[str], labels: Iterable[str]) -> Iterator[_Rule]:
    """What all images and all masks begin or end with, cut where words end."""
    ends = [["", *_cuts(_common_end(names), at_end=True)] for names in (pictures, labels)]
    starts = [["", *_cuts(_common_start(names), at_end=False)] for names in (pictures, labels)]
    for image_end in ends[0]:
        for mask_end in ends[1]:
            yield _Rule(image_end=image_end, mask_end=mask_end)
    for image_start in starts[0]:
        for mask_start in starts[1]:
            yield _Rule(image_start=image_start, mask_start=mask_start)


def _common_start(names: Iterable[str]) -> str:
    # a start and an end of all are those of the first and the last in order
    bases = sorted(posixpath.basename(name) for name in names)
    same = 0
    while bases and same < len(bases[0]) and bases[0][same] == bases[-1][same : same + 1]:
        same += 1
    return bases[0][:same] if bases else ""


def _common_end(names: Iterable[str]) -> str:
    return _common_start([posixpath.basename(name)[::-1] for name in names])[::-1]


def _cuts(shared: str, *, at_end: bool) -> list[str]:
    """Parts of a shared end (or start) that begin (or end) at a separator or between kinds."""
    words = {m.start() for m in re.finditer(r"[\W_]|(?<=\d)[A-Za-z]", shared)}
    words |= {m.end() for m in re.finditer(r"[\W_]|[A-Za-z](?=\d)", shared)} | {0, len(shared)}
    parts = {shared[p:] if at_end else shared[:p] for p in words}
    return sorted(parts - {""}, key=len)[:8]


def _as_one_spelling(
    keys: dict[str, str], named: dict[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The names without letter case and in one Unicode form, where that keeps them apart."""

    def spelled(name: str) -> str:
        return unicodedata.normalize("NFC", name).casefold()

    alike = [{spelled(name): path for name, path in each.items()} for each in (keys, named)]
    if len(alike[0]) < len(keys) or len(alike[1]) < len(named):
        return keys, named
    return alike[0], alike[1]


def _refuse_several(pictures: Mapping[str, str], labels: Mapping[str, str], masks: Path) -> None:
    """Name masks that come several for an image: one per object, per class, or per kind."""
    owners: dict[str, list[str]] = {}
    for name, path in labels.items():
        folder, base = posixpath.split(name)
        stems = [name, folder, posixpath.join(posixpath.dirname(folder), base)]
        stems += [posixpath.join(folder, base[:cut]) for cut in range(len(base) - 1, 0, -1)]
        owner = next((stem for stem in stems if stem in pictures), None)
        if owner is not None:
            owners.setdefault(owner, []).append(path)
    many = {name: paths for name, paths in owners.items() if len(paths) > 1}
    if 2 * len(many) > len(owners):
        name, paths = next(iter(many.items()))
        raise UserError(
            f"got {len(paths)} masks for image {pictures[name]} ({_first(paths)}), expected one "
            f"label map in {masks}; choose a kind by the end of its name (--data.mask_suffix "
            "_labelIds), or, for a mask per object or class, write the number of the class into "
            "one PNG"
        )


# files -------------------------------------------------------------------------------------------


def _apart(
    stems: Mapping[str, list[str]], suffix: str | None, folder: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """Images and masks that lie in one folder, as Roboflow writes them."""
    ends: Counter[str] = Counter()
    if suffix is None:
        for name, paths in stems.items():
            if any(_ending(path) in MASK_ENDINGS for path in paths):
                ends.update(name[cut:] for cut in range(1, len(name)) if name[:cut] in stems)
        suffix = ends.most_common(1)[0][0] if ends else "_mask"
    pictures: dict[str, str] = {}
    labels: dict[str, str] = {}
    for name, paths in stems.items():
        base = name.removesuffix(suffix)
        is_mask = name != base and base in stems and _ending(paths[0]) in MASK_ENDINGS
        into = labels if is_mask else pictures
        if len(paths) > 1:
            raise UserError(f"got {paths[0]} and {paths[1]}, expected different names")
        into[name] = paths[0]
    if not labels and pictures:
        raise UserError(
            f"got images and no masks in {folder}, expected NAME.jpg with NAME_mask.png there, or "
            "images/ and masks/"
        )
    return pictures, labels


def _stems(folder: Path, files: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in files:
        if _ending(path) in EXTENSIONS:
            found.setdefault(_stem(path, folder), []).append(path)
    return found


def _files(folder: Path) -> Iterator[str]:
    for path in walk(str(folder)):
        if isinstance(path, Failure):
            raise UserError(f"cannot list {path.path}: {path.reason}")
        yield path


def _by_name(folder: Path, files: Iterable[str], endings: frozenset[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in files:
        if _ending(path) not in endings:
            continue
        name = _stem(path, folder)
        if name in found:
            raise UserError(f"got {found[name]} and {path}, expected different names")
        found[name] = path
    return found


def _stem(path: str, folder: Path) -> str:
    stem = os.path.splitext(path)[0][len(str(folder)) + 1 :]  # noqa: PTH122 - a million of them
    return stem.replace(os.sep, "/")


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 - a million of them


def _first(paths: list[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(paths[:_SHOWN]) + more
