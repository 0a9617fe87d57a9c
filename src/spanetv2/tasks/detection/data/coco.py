"""A COCO data set: images with boxes, classes and masks.

Shape suffixes: N objects of an image, C channels, H and W pixels.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from spanetv2.data.images import ImageError, read_image
from spanetv2.errors import UserError
from spanetv2.tasks.detection.data.masks import decode_mask
from spanetv2.tasks.detection.data.packed import PackedJson
from spanetv2.tasks.detection.data.record import box_fault, read_record, record_problems

__all__ = ["SMALLEST", "CocoDetection", "Sample", "Target", "Transform", "to_unit", "usable"]

Target = dict[str, Tensor]
"""``boxes`` (N, 4) float32, left, top, right and bottom in pixels; ``labels`` (N,) int64 from 1;
``masks`` (N, H, W) uint8; ``iscrowd`` (N,) int64; ``area`` (N,) float32; ``image_id`` int64."""

Sample = tuple[Tensor, Target]
"""An image (3, H, W) and what is on it."""

Transform = Callable[[Tensor, Target], Sample]
"""From an image of uint8 and its target to others of the same kinds."""

SMALLEST = 32
"""Images with a shorter side of fewer pixels are left out of training."""

# EXIF orientations that swap the sides, and what undoes them.
_TURNED_BACK = {
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


class CocoDetection(Dataset[Sample]):
    """Images and annotations as in COCO.

    ``dataset[i]`` is the image, (3, H, W) float32 from 0 to 1, and its target (see ``Target``).
    Label k is class k - 1; 0 is left to the background.

    For evaluation everything is given as it is annotated: images without objects, crowds, boxes
    that reach outside. For training

    - images without a usable object, or with a side under 32 pixels, are left out;
    - crowds are left out: they mark places, not objects;
    - boxes are cut at the image's border, and objects left out whose box then has a side below one
      pixel, whose area is 0, or whose mask has no pixel in the box.

    Args:
        annotations: the JSON file.
        images: the folder its file names start from.
        training: see above.
        classes: class names in label order; the file's categories are matched by name and may be
            fewer. By default, the categories in the order of their ids.
        transform: applied to the image (uint8) and its target; in training also called for
            augmentation. It draws from the global generators.

    Attributes:
        classes: class names in label order.
        category_ids: for each class the id of its category in this file, None if it has none.
        image_ids: (N,) int64, the ids of the images.
        sizes: (N, 2) int64, their heights and widths as annotated.
        left_out: what training goes without, as reason -> number.

    Raises:
        UserError: the file has a problem that stops (see ``record_problems``), or nothing is left.
            Reading an item raises ``ImageError`` for a damaged file or one of another size.
    """

    def __init__(
        self,
        annotations: str | os.PathLike[str],
        images: str | os.PathLike[str],
        *,
        training: bool = False,
        classes: Sequence[str] | None = None,
        transform: Transform | None = None,
    ):
        record = read_record(annotations)
        for problem in record_problems(record, path=annotations, classes=classes):
            raise UserError(f"{problem}; 'spanetv2 check-data detection' lists all problems")
        if not Path(images).is_dir():
            raise UserError(f"got image folder {str(images)!r}, which is not there")
        self.annotations = Path(annotations)
        self.folder = Path(images)
        self.training = training
        self.transform = transform
        categories = sorted(record["categories"], key=lambda category: category["id"])
        by_name = {category["name"]: category["id"] for category in categories}
        self.classes = list(classes) if classes is not None else list(by_name)
        self.category_ids = [by_name.get(name) for name in self.classes]
        self.left_out: dict[str, int] = {}
        self._load(record)

    def _load(self, record: Mapping[str, list[Any]]) -> None:
        labels = {own: k for k, own in enumerate(self.category_ids, start=1) if own is not None}
        entries = {image["id"]: image for image in record["images"]}
        objects: dict[int, list[Any]] = {own: [] for own in entries}
        for annotation in record["annotations"]:
            image = entries[annotation["image_id"]]
            if not self.training or self._is_usable(annotation, image):
                objects[image["id"]].append(annotation)
        kept = [image for image in record["images"] if self._is_wanted(image, objects)]
        if not kept:
            raise UserError(
                f"{self.annotations}: no image to "
                + ("train on; each needs a box and at least 32 pixels" if self.training else "read")
            )
        found = [annotation for image in kept for annotation in objects[image["id"]]]
        self.image_ids = np.array([image["id"] for image in kept], dtype=np.int64)
        self.sizes = np.array([(i["height"], i["width"]) for i in kept], dtype=np.int64)
        self._files = PackedJson(image["file_name"] for image in kept)
        self._ends = np.cumsum([0, *(len(objects[image["id"]]) for image in kept)])
        self._masks = PackedJson(annotation["segmentation"] for annotation in found)
        self._labels = np.array([labels[a["category_id"]] for a in found], dtype=np.int64)
        self._crowds = np.array([a.get("iscrowd", 0) for a in found], dtype=np.int64)
        boxes = np.array([a["bbox"] for a in found], dtype=np.float64).reshape(-1, 4)
        areas = [a.get("area", a["bbox"][2] * a["bbox"][3]) for a in found]
        self._areas = np.array(areas, dtype=np.float32)
        boxes[:, 2:] += boxes[:, :2]
        self._boxes = boxes.astype(np.float32)

    def _is_usable(self, annotation: Mapping[str, Any], image: Mapping[str, Any]) -> bool:
        if annotation.get("iscrowd", 0):
            return self._leave_out("crowds")
        if box_fault(annotation, image) is not None:
            return self._leave_out("boxes outside the image or without area")
        return True

    def _is_wanted(self, image: Mapping[str, Any], objects: Mapping[int, list[Any]]) -> bool:
        if not self.training:
            return True
        if not objects[image["id"]]:
            return self._leave_out("images without a box")
        if min(image["width"], image["height"]) < SMALLEST:
            return self._leave_out(f"images with a side under {SMALLEST} pixels")
        return True

    def _leave_out(self, what: str) -> bool:
        self.left_out[what] = self.left_out.get(what, 0) + 1
        return False

    def __len__(self) -> int:
        return len(self.image_ids)

    def location(self, index: int) -> str:
        """Path of image ``index``."""
        return str(self.folder / self._files[index])

    def read(self, index: int) -> Image.Image:
        """Read image ``index`` as RGB, turned as its annotations are.

        Raises:
            ImageError: it cannot be read, or has another size than the annotations say.
        """
        path = self.location(index)
        height, width = self.sizes[index].tolist()
        image = read_image(path)
        if image.size == (height, width) != (width, height):
            # Annotated on the pixels as they are stored, without regard to the camera's note.
            with Image.open(path) as opened:
                undo = _TURNED_BACK.get(opened.getexif().get(0x0112, 1))
            image = image if undo is None else image.transpose(undo)
        if image.size != (width, height):
            raise ImageError(
                path,
                f"got {image.width} x {image.height} pixels, expected {width} x {height} as "
                f"{self.annotations.name} says",
            )
        return image if image.mode == "RGB" else image.convert("RGB")

    def target(self, index: int) -> Target:
        """What is on image ``index``, before any transform."""
        height, width = self.sizes[index].tolist()
        own = slice(int(self._ends[index]), int(self._ends[index + 1]))
        masks = [decode_mask(self._masks[i], height, width) for i in range(own.start, own.stop)]
        stacked = np.stack(masks) if masks else np.zeros((0, height, width), dtype=np.uint8)
        target = {
            "boxes": torch.from_numpy(self._boxes[own].copy()),
            "labels": torch.from_numpy(self._labels[own].copy()),
            "masks": torch.from_numpy(stacked),
            "iscrowd": torch.from_numpy(self._crowds[own].copy()),
            "area": torch.from_numpy(self._areas[own].copy()),
            "image_id": torch.tensor(int(self.image_ids[index])),
        }
        return usable(target) if self.training else target

    def __getitem__(self, index: int) -> Sample:
        pixels_HWC = torch.from_numpy(np.array(self.read(index)))
        image_CHW, target = pixels_HWC.permute(2, 0, 1).contiguous(), self.target(index)
        if self.transform is not None:
            image_CHW, target = self.transform(image_CHW, target)
        return to_unit(image_CHW), target


def to_unit(image_CHW: Tensor) -> Tensor:
    """uint8 from 0 to 255 -> float32 from 0 to 1."""
    return image_CHW.to(torch.float32).div_(255)


def usable(target: Target) -> Target:
    """Cut boxes at the border of the masks, and keep the objects that something is left of.

    Args:
        target: as of an image in training.

    Returns:
        A target of the objects whose box has sides of at least one pixel and whose mask has a pixel
        whose centre lies in the box.
    """
    height, width = target["masks"].shape[-2:]
    boxes = target["boxes"].clone()
    boxes[:, 0::2].clamp_(0, width)
    boxes[:, 1::2].clamp_(0, height)
    keep = (boxes[:, 2:] - boxes[:, :2] >= 1).all(1)
    for i in keep.nonzero()[:, 0].tolist():
        # A pixel's centre is half a pixel from its corner.
        left, top, right, bottom = (boxes[i] + 0.5).floor().int().tolist()
        keep[i] = bool(target["masks"][i, top:bottom, left:right].any())
    rest = {k: v[keep] for k, v in target.items() if k not in ("boxes", "image_id")}
    return {**rest, "boxes": boxes[keep], "image_id": target["image_id"]}
