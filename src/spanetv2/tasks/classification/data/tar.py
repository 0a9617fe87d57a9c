"""Images inside tar files, indexed by timm and read at their offset.

An open ``TarFile`` shared by forked workers shares its position too, and opening one per image is
slow; a member of an uncompressed tar is a range of bytes, so that is what is read.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from spanetv2.data.classes import label_table
from spanetv2.data.preprocessing import Transform
from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.folder import split_folder
from spanetv2.tasks.classification.data.names import PackedNames
from spanetv2.tasks.classification.data.source import ImageSource

__all__ = ["TarSource"]


class TarSource(ImageSource):
    """One tar with class folders inside, a folder with one tar per class, or a tar of tars.

    Args:
        root: an uncompressed ``.tar`` file, or a folder that holds ``<split>.tar``,
            ``<split>/*.tar`` or the classes' tar files. Inside, ``.png``, ``.jpg`` and ``.jpeg``
            files are read (timm's choice).
        split: which part, as for folders.
        classes: class names in index order; matched by name. By default, those found.
        transform: applied to every Pillow image.

    Raises:
        UserError: nothing usable there, or a class that is not among ``classes``.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None,
        split: str,
        *,
        classes: Sequence[str] | None = None,
        transform: Transform | None = None,
    ):
        from timm.data.readers.reader_image_in_tar import extract_tarinfos

        if root is None or not Path(root).exists():
            raise UserError(f"got {root} for tar data, expected a .tar file or a folder of them")
        place = Path(root)
        if place.is_dir():
            place = split_folder(place, split, archives=[".tar"])
        try:
            found, targets, index, _ = extract_tarinfos(str(place))
        except Exception as error:  # not a tar, no images, no permission: each its own class
            raise UserError(f"got no readable images in tar files at {place} ({error})") from None
        assert index is not None
        own = sorted(index, key=index.__getitem__)
        # timm's order of equal names in several files is that of the folder listing.
        order = sorted(range(len(found)), key=lambda i: _place(found[i]))
        samples, labels = [found[i] for i in order], [int(targets[i]) for i in order]
        table = label_table(own, classes, where=str(place)) if classes else range(len(own))
        super().__init__(
            classes=list(classes or own),
            labels=np.asarray(table, dtype=np.int64)[labels],
            transform=transform,
        )
        files: dict[Path, int] = {}
        names = PackedNames()
        ranges = np.empty((len(samples), 3), dtype=np.int64)
        for row, (member, file, inner) in zip(ranges, samples, strict=True):
            path = place / file if file else place
            start = member.offset_data + (inner.offset_data if inner is not None else 0)
            row[:] = files.setdefault(path, len(files)), start, member.size
            names.append(f"{inner.name}/{member.name}" if inner is not None else member.name)
        self._files = list(files)
        self._ranges = ranges
        self._names = names.freeze()

    def read(self, index: int) -> Image.Image:
        file, start, size = self._ranges[index].tolist()
        with self._files[file].open("rb") as stream:
            stream.seek(start)
            content = stream.read(size)
        return self.decode(io.BytesIO(content), name=self.location(index))

    def location(self, index: int) -> str:
        return f"{self._files[self._ranges[index, 0]]}/{self._names[index]}"


def _place(sample: Any) -> tuple[str, str, str]:
    member, file, inner = sample
    return file or "", inner.name if inner is not None else "", member.name
