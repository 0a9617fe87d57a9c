"""A COCO data set: images with boxes, classes and masks.

Shape suffixes: N objects of an image, C channels, H and W pixels.
"""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from spanetv2.data.images import ImageError
from spanetv2.errors import UserError
from spanetv2.kept import keep
from spanetv2.tasks.detection.data.ids import OwnId
from spanetv2.tasks.detection.data.image_entries import read_entry
from spanetv2.tasks.detection.data.judge import Judged
from spanetv2.tasks.detection.data.masks import decode_mask
from spanetv2.tasks.detection.data.packed import PackedJson
from spanetv2.tasks.detection.data.reading import Reading
from spanetv2.tasks.detection.data.survey import Survey, survey_coco

__all__ = ["CocoDetection", "Sample", "Target", "Transform", "to_unit", "usable"]

Target = dict[str, Tensor]
"""``boxes`` (N, 4) float32, left, top, right and bottom in pixels; ``labels`` (N,) int64 from 1;
``iscrowd`` (N,) int64; ``area`` (N,) float32; ``image_id`` int64. Where masks are read ``masks``
(N, H, W) uint8, and where not all objects of the data set have one ``has_mask`` (N,) bool; the
masks of the others are 0 everywhere."""

Sample = tuple[Tensor, Target]
"""An image (3, H, W) and what is on it."""

Transform = Callable[[Tensor, Target], Sample]
"""From an image of uint8 and its target to others of the same kinds."""


class CocoDetection(Dataset[Sample]):
    """Images and annotations as in COCO.

    ``dataset[i]`` is the image, (3, H, W) float32 from 0 to 1, and its target (see ``Target``).
    Label k is class k - 1; 0 is left to the background.

    For evaluation everything is given as it is annotated: images without objects, crowds, boxes
    that reach outside. For training

    - images without a usable object, or with a side under 32 pixels, are left out;
    - crowds are left out: they mark places, not objects;
    - boxes are cut at the image's border, and objects left out whose box then has a side below one
      pixel, whose area is 0, or which have a mask without a pixel in the box.

    What becomes of an annotation is decided in ``judge``, and counted.

    Args:
        annotations: the JSON file.
        images: the folder its file names start from.
        training: see above.
        classes: class names in label order; the file's categories are matched by name and may be
            fewer. By default, the categories in the order of their ids.
        transform: applied to the image (uint8) and its target; in training also called for
            augmentation. It draws from the global generators.
        reading: what the user says about the data.
        strict: refuse the data where an image file is missing or has another size, rather than
            when it is read; by default in training.

    Attributes:
        classes: class names in label order.
        category_ids: for each class the id of its category in this file, None if it has none.
        image_numbers: (N,) int64, numbers of the images: their ids, or where these are no such
            numbers their places.
        sizes: (N, 2) int64, their heights and widths as annotated.
        left_out: what training goes without, as reason -> number.
        counts: objects by class.
        notes: what should be known about the data.
        deep: files of grey images with more than 8 bits.

    Raises:
        UserError: the file has a problem that stops, or nothing is left. Reading an item raises
            ``ImageError`` for a damaged file or one of another size.
    """

    def __init__(
        self,
        annotations: str | os.PathLike[str],
        images: str | os.PathLike[str],
        *,
        training: bool = False,
        classes: Sequence[str] | None = None,
        transform: Transform | None = None,
        reading: Reading | None = None,
        strict: bool | None = None,
    ):
        if not Path(images).is_dir():
            raise UserError(f"got image folder {str(images)!r}, which is not there")
        self.annotations = Path(annotations)
        keep([annotations])
        self.folder = Path(images)
        self.training = training
        self.transform = transform
        self.reading = reading or Reading()
        survey = survey_coco(
            annotations, images, training=training, classes=classes, reading=reading
        )
        _refuse(survey, files=training if strict is None else strict)
        self.classes = survey.classes
        self.category_ids = survey.category_ids
        self.counts = survey.counts
        self.notes = survey.notes
        self.deep = survey.images.deep
        self.left_out: dict[str, int] = {}
        if training:
            self.left_out |= {why: by.total() for why, by in survey.counts.left_out.items()}
            self.left_out |= survey.counts.images_left_out
        self._load(survey)

    def _load(self, survey: Survey) -> None:
        labels = {name: k for k, name in enumerate(self.classes, start=1)}
        entries = [survey.images.entries[key] for key in survey.wanted]
        if not entries:
            raise UserError(f"{self.annotations}: no image to read")
        kept = [
            [judged for judged in survey.objects[key] if not (self.training and judged.left_out)]
            for key in survey.wanted
        ]
        found: list[Judged] = list(itertools.chain.from_iterable(kept))
        self._own_ids = PackedJson(entry.own_id for entry in entries)
        self.image_numbers = _numbers([entry.own_id for entry in entries])
        self.sizes = np.array([(e.height, e.width) for e in entries], dtype=np.int64)
        self._files = PackedJson((e.path, e.as_stored, e.fault) for e in entries)
        self._ends = np.cumsum([0, *map(len, kept)])
        self._masks = PackedJson(judged.mask for judged in found)
        # Crowds have no say in it: some tools write them as boxes.
        self.has_masks = any(judged.mask is not None and not judged.crowd for judged in found)
        self.mixed = self.reading.masks and any(judged.mask is None for judged in found)
        self._labels = np.array([labels[judged.name] for judged in found], dtype=np.int64)
        self._crowds = np.array([judged.crowd for judged in found], dtype=np.int64)
        boxes = np.array([judged.box for judged in found], dtype=np.float64).reshape(-1, 4)
        self._areas = np.array([judged.area for judged in found], dtype=np.float32)
        boxes[:, 2:] += boxes[:, :2]
        self._boxes = boxes.astype(np.float32)

    def __len__(self) -> int:
        return len(self.sizes)

    def without_masks(self) -> None:
        """Give boxes alone from here on."""
        self.reading = dataclasses.replace(self.reading, masks=False)
        self.mixed = False

    def with_white(self, white: int | None) -> None:
        """Take this for white in grey images of more than 8 bits from here on."""
        self.reading = dataclasses.replace(self.reading, white=white)

    @property
    def image_ids(self) -> list[OwnId]:
        """The ids of the images, as their file writes them."""
        return [self._own_ids[index] for index in range(len(self))]

    def own_image_id(self, number: int) -> OwnId:
        """The id of an image by its number, ``image_id`` of its target."""
        return self._own_ids[int(np.flatnonzero(self.image_numbers == number)[0])]

    def location(self, index: int) -> str:
        """Path of image ``index``."""
        return self._files[index][0]

    def locations(self) -> list[str]:
        """Paths of all images."""
        return [self.location(index) for index in range(len(self))]

    def contents(self) -> Iterator[Any]:
        """For every image, its name below the folder and its objects: class, box, crowd."""
        for index in range(len(self)):
            own = slice(int(self._ends[index]), int(self._ends[index + 1]))
            name = os.path.relpath(self.location(index), self.folder)
            parts = (self._labels, self._boxes, self._crowds)
            yield [name, *(part[own].tolist() for part in parts)]

    def read(self, index: int) -> Image.Image:
        """Read image ``index`` as RGB, turned as its annotations are.

        Raises:
            ImageError: it cannot be read, or has another size than the annotations say.
        """
        path, as_stored, fault = self._files[index]
        if fault is not None:
            raise ImageError(path, fault)
        height, width = self.sizes[index].tolist()
        return read_entry(path, (width, height), as_stored=as_stored, reading=self.reading)

    def target(self, index: int) -> Target:
        """What is on image ``index``, before any transform."""
        height, width = self.sizes[index].tolist()
        own = slice(int(self._ends[index]), int(self._ends[index + 1]))
        target = {
            "boxes": torch.from_numpy(self._boxes[own].copy()),
            "labels": torch.from_numpy(self._labels[own].copy()),
        }
        if self.reading.masks:
            codes = [self._masks[i] for i in range(own.start, own.stop)]
            # To a mask no pixel is what an empty list of polygons draws.
            masks = [decode_mask([] if code is None else code, height, width) for code in codes]
            stacked = np.stack(masks) if masks else np.zeros((0, height, width), dtype=np.uint8)
            target["masks"] = torch.from_numpy(stacked)
            if self.mixed:
                given = [code is not None for code in codes]
                target["has_mask"] = torch.tensor(given, dtype=torch.bool)
        target |= {
            "iscrowd": torch.from_numpy(self._crowds[own].copy()),
            "area": torch.from_numpy(self._areas[own].copy()),
            "image_id": torch.tensor(int(self.image_numbers[index])),
        }
        return usable(target, (height, width)) if self.training else target

    def __getitem__(self, index: int) -> Sample:
        pixels_HWC = torch.from_numpy(np.array(self.read(index)))
        image_CHW, target = pixels_HWC.permute(2, 0, 1).contiguous(), self.target(index)
        if self.transform is not None:
            image_CHW, target = self.transform(image_CHW, target)
        return to_unit(image_CHW), target


def to_unit(image_CHW: Tensor) -> Tensor:
    """uint8 from 0 to 255 -> float32 from 0 to 1."""
    return image_CHW.to(torch.float32).div_(255)


def usable(target: Target, size: tuple[int, int] | None = None) -> Target:
    """Cut boxes at the border of the image, and keep the objects that something is left of.

    Args:
        target: as of an image in training.
        size: height and width of the image; that of the masks by default.

    Returns:
        A target of the objects whose box has sides of at least one pixel and whose mask, if they
        have one, has a pixel whose centre lies in the box.
    """
    height, width = target["masks"].shape[-2:] if size is None else size
    boxes = target["boxes"].clone()
    boxes[:, 0::2].clamp_(0, width)
    boxes[:, 1::2].clamp_(0, height)
    keep = (boxes[:, 2:] - boxes[:, :2] >= 1).all(1)
    if "masks" in target:
        masked = keep & target["has_mask"] if "has_mask" in target else keep
        for i in masked.nonzero()[:, 0].tolist():
            # A pixel's centre is half a pixel from its corner.
            left, top, right, bottom = (boxes[i] + 0.5).floor().int().tolist()
            keep[i] = bool(target["masks"][i, top:bottom, left:right].any())
    rest = {k: v[keep] for k, v in target.items() if k not in ("boxes", "image_id")}
    return {**rest, "boxes": boxes[keep], "image_id": target["image_id"]}


def _refuse(survey: Survey, *, files: bool) -> None:
    """Stop at what keeps the data from being used.

    Args:
        survey: of the data.
        files: whether image files count.

    Raises:
        UserError: the first problem, and how many there are.
    """
    stopping = [
        problem
        for problem in survey.problems
        if problem.effect == "stops" and (files or problem.kind != "image files")
    ]
    if stopping:
        more = f" (and {len(stopping) - 1:,} more problems)" if len(stopping) > 1 else ""
        raise UserError(f"{stopping[0]}{more}; 'spanetv2 check-data detection' lists all problems")


def _numbers(own_ids: Sequence[OwnId]) -> np.ndarray:
    """The ids where they are numbers of 64 bits, their places otherwise."""
    try:
        if all(type(own) is int for own in own_ids):
            return np.array(own_ids, dtype=np.int64)
    except OverflowError:
        pass
    return np.arange(len(own_ids), dtype=np.int64)
