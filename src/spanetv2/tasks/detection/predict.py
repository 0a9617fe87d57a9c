"""Finding objects in image files, however many and whatever size they have."""

import functools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spanetv2.data.images import Failure, read_image
from spanetv2.data.paths import Chosen, path_batches
from spanetv2.errors import UserError
from spanetv2.tasks.detection.masks import encode_masks
from spanetv2.tasks.detection.metrics import Found
from spanetv2.tasks.detection.model import Detector

__all__ = ["Prediction", "predict", "read_pixels"]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a detector finds in one image, best first.

    Shape suffixes: N objects, M side of a predicted mask, C channels, H and W rows and columns.
    """

    path: str
    """the file"""
    image: Tensor
    """its pixels, uint8"""
    boxes: Tensor
    """(x1, y1, x2, y2) in pixels"""
    labels: Tensor
    """classes from 1"""
    scores: Tensor
    """0 to 1"""
    masks: Tensor | None
    """probabilities relative to the boxes; None where the detector predicts none"""

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the image."""
        return int(self.image.shape[-2]), int(self.image.shape[-1])

    def found(self) -> Found:
        """The same with masks as run lengths, for results files."""
        masks = None
        if self.masks is not None:
            masks = encode_masks(self.masks, self.boxes, self.size)
        return Found(self.boxes, self.labels, self.scores, masks)


def read_pixels(path: str, *, white: int | None = None, max_pixels: int | None = None) -> Tensor:
    """An image file as (3, H, W) uint8.

    Args:
        path: the file.
        white: value of white in grey images of more than 8 bits; None is 65535.
        max_pixels: most pixels of an image; None is Pillow's limit.

    Raises:
        ImageError: it cannot be read.
    """
    image = read_image(path, white=white, max_pixels=max_pixels)
    pixels_HWC = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    return torch.from_numpy(pixels_HWC).permute(2, 0, 1).contiguous()


def predict(
    detector: Detector,
    paths: Iterable[str | os.PathLike[str]],
    *,
    score: float = 0.5,
    batch_size: int = 1,
    device: torch.device | str = "cpu",
    workers: int = 0,
    max_pixels: int | None = None,
    chosen: Chosen | None = None,
) -> Iterator[Prediction | Failure]:
    """Find objects in files, in the images of folders, and in what glob patterns match.

    Args:
        detector: used in evaluation mode.
        paths: files, folders and patterns.
        score: detections below are left out. The detector has a threshold of its own
            (``options.score_threshold``), below which there are none.
        batch_size: images per forward pass; they may differ in size.
        device: where to compute.
        workers: processes that read images; 0 reads in this one.
        max_pixels: most pixels of an image; None is Pillow's limit.
        chosen: which batches are looked at; see ``path_batches``.

    Yields:
        One ``Prediction`` or ``Failure`` per file, in the order found.

    Raises:
        UserError: settings out of range, or outputs of the detector that are not finite.
    """
    if not 0 <= score <= 1 or batch_size < 1 or workers < 0:
        raise UserError(
            f"got score {score}, batch_size {batch_size}, workers {workers}, "
            "expected 0 to 1, at least 1 and at least 0"
        )
    detector = detector.to(device).eval()
    read = functools.partial(read_pixels, white=detector.options.white, max_pixels=max_pixels)
    batches = path_batches(paths, read=read, batch_size=batch_size, workers=workers, chosen=chosen)
    for entries in batches:
        images = [entry[1] for entry in entries if not isinstance(entry, Failure)]
        results = iter(_detect(detector, images, device) if images else ())
        for entry in entries:
            if isinstance(entry, Failure):
                yield entry
                continue
            path, image = entry
            result = next(results)
            keep = result["scores"] >= score
            yield Prediction(
                path=path,
                image=image,
                boxes=result["boxes"][keep],
                labels=result["labels"][keep],
                scores=result["scores"][keep],
                masks=result["masks"][keep] if "masks" in result else None,
            )


@torch.inference_mode()
def _detect(
    detector: Detector, images: list[Tensor], device: torch.device | str
) -> list[dict[str, Tensor]]:
    results = detector.detect([image.to(device).float().div_(255) for image in images])
    return [
        {
            name: value.float().cpu() if value.is_floating_point() else value.cpu()
            for name, value in result.items()
        }
        for result in results
    ]
