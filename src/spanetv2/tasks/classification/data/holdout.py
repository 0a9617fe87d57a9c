"""A part of the training images held out for validation, and splits that are not apart."""

import hashlib
import os
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from spanetv2.data.apart import refuse_shared
from spanetv2.data.preprocessing import Transform
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.source import ImageSource

__all__ = [
    "HeldOut",
    "PartSource",
    "check_apart",
    "held_out_note",
    "held_out_part",
    "held_out_record",
    "hold_out",
]

_MOST_LOOKED_AT = 200_000
"""Files that are looked at one by one for links; of more, only their folders."""


class PartSource(ImageSource):
    """Some of the images of another source.

    Args:
        whole: the source.
        indices: which of its images, in order.
        transform: applied to every Pillow image.
    """

    def __init__(self, whole: ImageSource, indices: np.ndarray, *, transform: Transform | None):
        assert whole.labels is not None
        super().__init__(classes=whole.classes, labels=whole.labels[indices], transform=transform)
        self.whole = whole
        self.indices = indices
        self.remarks = whole.remarks

    def take_white(self, white: int | None) -> None:
        self.whole.take_white(white)

    def files(self) -> list[str]:
        return [self.location(index) for index in range(len(self))] if self.whole.files() else []

    def read(self, index: int) -> Image.Image:
        return self.whole.read(int(self.indices[index]))

    def location(self, index: int) -> str:
        return self.whole.location(int(self.indices[index]))

    def key(self, index: int) -> str:
        return self.whole.key(int(self.indices[index]))


def hold_out(source: ImageSource, share: float, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide a source: the same share of every class, as a function of seed and file names.

    A class of two or more images keeps at least one on either side; one image is trained on.

    Args:
        source: the images.
        share: of each class that is held out, between 0 and 1.
        seed: another seed holds out other images.

    Returns:
        Indices of the images that stay, and of those held out, both in order.

    Raises:
        UserError: labels are not known before images are read, or nothing would be held out.
    """
    if source.labels is None:
        raise UserError(
            "got data.val_share for data whose labels are known on reading only, expected a folder "
            "or another set with labels; name a validation split (--data.val_split)"
        )
    held = _several(source, share, seed) if source.multi_label else _one_each(source, share, seed)
    if not held:
        raise UserError(
            f"got {len(source)} images of which data.val_share={share} holds out none, expected a "
            "class of two or more images"
        )
    mask = np.zeros(len(source), dtype=bool)
    mask[held] = True
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def _one_each(source: ImageSource, share: float, seed: int) -> list[int]:
    assert source.labels is not None
    held: list[int] = []
    for label in np.unique(source.labels).tolist():
        own = np.flatnonzero(source.labels == label).tolist()
        held += _first_drawn(source, own, _count(share, len(own)), seed)
    return held


def _several(source: ImageSource, share: float, seed: int) -> list[int]:
    """Images with several labels: the rarest class is divided first, then what is left of others.

    Source: the order of Sechidis, Tsoumakas and Vlahavas, On the Stratification of Multi-label
    Data, 2011.
    """
    assert source.labels is not None
    unlabelled = ~source.labels.any(axis=1)
    columns = [*source.labels.T.astype(bool), unlabelled]
    held = np.zeros(len(source), dtype=bool)
    decided = np.zeros(len(source), dtype=bool)
    for column in sorted(columns, key=np.count_nonzero):
        total = int(np.count_nonzero(column))
        free = np.flatnonzero(column & ~decided).tolist()
        missing = _count(share, total) - int(np.count_nonzero(column & held))
        if total:
            held[_first_drawn(source, free, max(0, missing), seed)] = True
        decided |= column
    return np.flatnonzero(held).tolist()


def _count(share: float, images: int) -> int:
    """How many of a class are held out: at least one, but never all."""
    return min(max(1, round(share * images)), images - 1)


def _first_drawn(source: ImageSource, images: list[int], count: int, seed: int) -> list[int]:
    return sorted(images, key=lambda index: _drawn(source.key(index), seed))[:count]


def _drawn(key: str, seed: int) -> bytes:
    text = f"{seed}\0{key.replace(os.sep, '/')}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=8).digest()


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What finds the images again that ``hold_out`` took, and tells whether they are these.

    Args:
        share: of each class.
        seed: that they were drawn by.
        names: digest of the names of all images.
    """

    share: float
    seed: int
    names: str

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UserError(f"got share {self.share}, expected a number between 0 and 1")


def held_out_record(source: ImageSource, share: float, *, seed: int) -> dict[str, Any]:
    """What a file records of images that were held out: the fields of ``HeldOut``."""
    return asdict(HeldOut(share=share, seed=seed, names=_digest(source)))


def held_out_part(source: ImageSource, record: HeldOut) -> ImageSource | None:
    """The images that a run held out of a source; None for another source than the run's."""
    if source.labels is None or record.names != _digest(source):
        return None
    _, held = hold_out(source, record.share, seed=record.seed)
    part = PartSource(source, held, transform=source.transform)
    part.split_note = held_out_note(record.share, record.seed)
    return part


def held_out_note(share: float, seed: int) -> str:
    """How a reader of figures is told about the images."""
    return f"{share:g} of each class held out of training, seed {seed}"


def _digest(source: ImageSource) -> str:
    keys = sorted(source.key(index).replace(os.sep, "/") for index in range(len(source)))
    text = "\0".join(keys).encode("utf-8", "surrogateescape")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def check_apart(train: Any, val: Any) -> None:
    """Refuse a validation split that holds files of the training split.

    Files are the same if links lead to one place; copies are what check-data looks for.

    Raises:
        UserError: naming a file, and what to do.
    """
    if not (isinstance(train, ImageSource) and isinstance(val, ImageSource)):
        return
    if not (len(train) and len(val)):
        return
    if _real(train.location(0)) == _real(val.location(0)) or _may_share(train, val):
        parts = [[part.location(i) for i in range(len(part))] for part in (train, val)]
        refuse_shared(
            *parts,
            advice="hold a share out (--data.val_share 0.2), or train without validation "
            "(--data.val_split null)",
        )


def _may_share(train: ImageSource, val: ImageSource) -> bool:
    """Whether a link, or a folder in the other, could make files the same."""
    tops = [getattr(source, "root", None) for source in (train, val)]
    if tops[0] is None or tops[1] is None:
        return False
    real = [_real(str(top)) + os.sep for top in tops]
    if real[0].startswith(real[1]) or real[1].startswith(real[0]):
        return True
    for source in (train, val):
        paths = [source.location(i) for i in range(len(source))]
        places = {os.path.dirname(path) for path in paths}  # noqa: PTH120
        if len(paths) <= _MOST_LOOKED_AT:
            places.update(paths)
        if any(os.path.islink(place) for place in places):  # noqa: PTH114
            return True
    return False


def _real(path: str) -> str:
    return os.path.realpath(path)
