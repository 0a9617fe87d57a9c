"""Where a segmentation model's answers for image files go: label images, overlays, facts."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from spanetv2.data.images import Failure
from spanetv2.files import UniqueNames, json_rows
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.prediction import Answer, PredictionSettings, PredictionWriter, Predictor
from spanetv2.tasks.segmentation.measure import (
    recorded_inference,
    recorded_palette,
    recorded_preprocessing,
)
from spanetv2.tasks.segmentation.predict import FolderWriter, Prediction, places, predict
from spanetv2.tasks.segmentation.weights import load_segmenter
from spanetv2.text import printable

__all__ = ["SegmentationPredictor", "SegmentationWriter"]

_SHARES = 4
_FACTS = "predictions.jsonl"


class SegmentationPredictor(Predictor):
    """A segmentation model ready to answer for image files.

    A given window slides over the image at its own size.

    Args:
        checkpoint: of a segmentation model.
        settings: device, workers, and the options ``out``, ``window``, ``stride``
            and ``max_pixels``.
        batch_size: images per forward pass.
    """

    folder: Path

    def __init__(self, checkpoint: Checkpoint, settings: PredictionSettings, *, batch_size: int):
        options = dict(settings.options)
        self.folder = Path(options.pop("out", "predictions"))
        self.settings = settings
        self.batch_size = batch_size
        self.max_pixels: int | None = options.pop("max_pixels", None)
        self.inference = recorded_inference(checkpoint, **options)
        self.preprocessing = recorded_preprocessing(checkpoint)
        if "window" in options:
            self.preprocessing = dataclasses.replace(self.preprocessing, size=None)
        self.model, self.checkpoint = load_segmenter(
            checkpoint, device=settings.device, dtype=settings.dtype
        )

    def predict(self, paths: Iterable[str | os.PathLike[str]]) -> Iterator[Prediction | Failure]:
        return predict(
            self.model,
            paths,
            preprocessing=self.preprocessing,
            inference=self.inference,
            batch_size=self.batch_size,
            device=self.settings.device,
            workers=self.settings.workers,
            max_pixels=self.max_pixels,
        )

    def targets(self, paths: Iterable[str]) -> Iterator[Path]:
        yield self.folder / _FACTS
        names = UniqueNames()
        for path in paths:
            yield from places(self.folder, names.name(path))

    @contextlib.contextmanager
    def writer(self) -> Iterator["SegmentationWriter"]:
        pictures = FolderWriter(
            self.folder,
            classes=self.checkpoint.classes or [],
            palette=recorded_palette(self.checkpoint),
        )
        with json_rows(self.folder / _FACTS, lines=True) as save:
            yield SegmentationWriter(pictures, save)


class SegmentationWriter(PredictionWriter):
    """Writes the pictures of an image, and facts about them as JSON.

    Args:
        pictures: writes label images and overlays.
        save: takes a JSON row.
    """

    def __init__(self, pictures: FolderWriter, save: Callable[[Any], None]):
        self.pictures = pictures
        self.save = save
        self.files = [pictures.folder / _FACTS]

    def write(self, prediction: Prediction) -> Answer:
        written = self.pictures.write(prediction)
        self.files += [written.labels, written.overlay]
        folder = self.pictures.folder
        record = {
            "path": written.path,
            "labels": str(written.labels.relative_to(folder)),
            "overlay": str(written.overlay.relative_to(folder)),
            "classes": {name: round(share, 6) for name, share in written.shares.items()},
        }
        self.save(record)
        largest = list(written.shares.items())[:_SHARES]
        shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in largest)
        return Answer(record=record, lines=[f"{printable(written.path)}\t{printable(shares)}"])

    def summary(self, images: int, failed: int) -> list[str]:
        lines = [
            f"{images} images segmented; labels, overlays and {_FACTS} in {self.pictures.folder}"
        ]
        return [*lines, f"{failed} problems"] if failed else lines
