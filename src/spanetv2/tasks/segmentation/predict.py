"""Segmenting image files: label images, overlays, and shares of the classes."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from spanetv2.data.images import Failure, read_image
from spanetv2.data.paths import Chosen, path_batches
from spanetv2.files import atomic_path
from spanetv2.tasks.segmentation.data.classes import Colour
from spanetv2.tasks.segmentation.data.transforms import EvalTransform, Preprocessing
from spanetv2.tasks.segmentation.inference import Inference, segment
from spanetv2.tasks.segmentation.picture import (
    label_counts,
    label_image,
    overlay,
    with_legend,
)

__all__ = ["FolderWriter", "Prediction", "Written", "places", "predict"]

_QUALITY = 90


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a model sees in one image."""

    path: str
    """the file"""
    image: Image.Image
    """the image, upright"""
    labels: np.ndarray
    """(H, W) uint8 classes, at the image's size"""


@dataclass(frozen=True, kw_only=True)
class Written:
    """Files made for one image."""

    path: str
    """the image"""
    labels: Path
    """label PNG, whose values are class numbers"""
    overlay: Path
    """JPEG of the image under the classes' colours, with a legend"""
    shares: dict[str, float]
    """class name -> share of the image's pixels, largest first"""


@dataclass(frozen=True)
class _Reader:
    """From a path to the image and what the model is shown of it."""

    transform: EvalTransform
    max_pixels: int | None

    def __call__(self, path: str) -> tuple[Image.Image, tuple[Tensor, ...]]:
        white = self.transform.preprocessing.white
        image = read_image(path, white=white, max_pixels=self.max_pixels)
        return image, self.transform.views(image)


def predict(
    model: nn.Module,
    paths: Iterable[str | os.PathLike[str]],
    *,
    preprocessing: Preprocessing,
    inference: Inference | None = None,
    batch_size: int = 1,
    device: torch.device | str = "cpu",
    workers: int = 0,
    max_pixels: int | None = None,
    chosen: Chosen | None = None,
) -> Iterator[Prediction | Failure]:
    """Segment files, the images in folders, and what glob patterns match.

    Args:
        model: gives scores (B, K, H, W) for images (B, C, H, W); used in evaluation mode.
        paths: files, folders and patterns; see ``find_images``.
        preprocessing: of images.
        inference: windows, scales, mirror images.
        batch_size: images read and, where they have one size, computed at a time.
        device: where to compute.
        workers: processes that read images; 0 reads in this one.
        max_pixels: most pixels of an image; None is Pillow's limit.
        chosen: which batches are looked at; see ``path_batches``.

    Yields:
        One ``Prediction`` or ``Failure`` per file, in the order found.

    Raises:
        UserError: outputs of the model that are not finite.
    """
    inference = inference or Inference()
    model = model.to(device).eval()
    reader = _Reader(EvalTransform(preprocessing, inference.scales), max_pixels)
    batches = path_batches(
        paths, read=reader, batch_size=batch_size, workers=workers, chosen=chosen
    )
    for batch in batches:
        read = [entry for entry in batch if not isinstance(entry, Failure)]
        alike = len({(image.size, views[0].shape) for _, (image, views) in read}) == 1
        labels: list[Tensor] = []
        for group in [read] if alike else [[entry] for entry in read]:
            image = group[0][1][0]
            views = [torch.stack(x) for x in zip(*(e[1][1] for e in group), strict=True)]
            labels += segment(
                model,
                views,
                size=(image.height, image.width),
                preprocessing=preprocessing,
                inference=inference,
                device=device,
            )
        results = iter(labels)
        for entry in batch:
            if isinstance(entry, Failure):
                yield entry
            else:
                path, (image, _) = entry
                yield Prediction(path=path, image=image, labels=next(results).numpy())


def places(folder: Path, name: str) -> tuple[Path, Path]:
    """Where an image's labels and its overlay go."""
    return folder / "labels" / f"{name}.png", folder / "overlays" / f"{name}.jpg"


class FolderWriter:
    """Writes ``labels/NAME.png`` and ``overlays/NAME.jpg``, each whole or not at all.

    Args:
        folder: where to.
        classes: names by label.
        palette: colours by label.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, classes: Sequence[str], palette: Sequence[Colour]
    ):
        self.folder = Path(folder)
        self.classes = list(classes)
        self.palette = list(palette)

    def write(self, prediction: Prediction, name: str) -> Written:
        """Write the pictures of one image.

        Args:
            prediction: for it.
            name: of its files, without ending.

        Raises:
            OSError: a file cannot be written.
        """
        labels, over = places(self.folder, name)
        with atomic_path(labels) as temporary:
            label_image(prediction.labels, self.palette).save(temporary, format="PNG")
        picture = overlay(prediction.image, prediction.labels, self.palette)
        picture = with_legend(picture, prediction.labels, self.classes, self.palette)
        with atomic_path(over) as temporary:
            picture.save(temporary, format="JPEG", quality=_QUALITY)
        counts = label_counts(prediction.labels)[: len(self.classes)]
        order = np.argsort(-counts, kind="stable")
        shares = {
            self.classes[k]: float(counts[k]) / prediction.labels.size for k in order if counts[k]
        }
        return Written(path=prediction.path, labels=labels, overlay=over, shares=shares)
