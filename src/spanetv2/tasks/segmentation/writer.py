"""Where a segmentation model's answers for image files go: label images, overlays, facts."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spanetv2.data.images import Failure
from spanetv2.data.paths import Chosen
from spanetv2.files import UniqueNames, json_rows
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.prediction import PredictionSettings, PredictionWriter, Predictor
from spanetv2.tasks.segmentation.measure import (
    recorded_inference,
    recorded_palette,
    recorded_preprocessing,
)
from spanetv2.tasks.segmentation.predict import FolderWriter, Prediction, places, predict
from spanetv2.tasks.segmentation.weights import load_segmenter
from spanetv2.tasks.task import FOLDER
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
    """

    folder: Path

    def __init__(self, checkpoint: Checkpoint, settings: PredictionSettings):
        options = dict(settings.options)
        self.folder = Path(options.pop("out", FOLDER))
        self.settings = settings
        self.batch_size = settings.batch_size
        self.max_pixels: int | None = options.pop("max_pixels", None)
        self.inference = recorded_inference(checkpoint, **options)
        self.preprocessing = recorded_preprocessing(checkpoint)
        if "window" in options:
            self.preprocessing = dataclasses.replace(self.preprocessing, size=None)
        self.model, checkpoint = load_segmenter(
            checkpoint, device=settings.device, dtype=settings.dtype
        )
        self._pictures = FolderWriter(
            self.folder, classes=checkpoint.classes or [], palette=recorded_palette(checkpoint)
        )

    def predict(
        self, paths: Iterable[str | os.PathLike[str]], *, chosen: Chosen | None = None
    ) -> Iterator[Prediction | Failure]:
        return predict(
            self.model,
            paths,
            preprocessing=self.preprocessing,
            inference=self.inference,
            batch_size=self.batch_size,
            device=self.settings.device,
            workers=self.settings.workers,
            max_pixels=self.max_pixels,
            chosen=chosen,
        )

    def targets(self, paths: Iterable[str]) -> Iterator[Path]:
        yield self.folder / _FACTS
        names = UniqueNames()
        for path in paths:
            yield from places(self.folder, names.name(path))

    def places(self) -> Callable[[str], str]:
        return UniqueNames().name

    def answer(self, prediction: Prediction, place: str) -> dict[str, Any]:
        written = self._pictures.write(prediction, place)
        return {
            "path": written.path,
            "labels": str(written.labels.relative_to(self.folder)),
            "overlay": str(written.overlay.relative_to(self.folder)),
            "classes": {name: round(share, 6) for name, share in written.shares.items()},
        }


class SegmentationWriter(PredictionWriter):
    """Writes facts about images as JSON.

    Args:
        options: ``out`` of ``spanetv2 predict``.
    """

    def __init__(self, options: Mapping[str, Any]):
        self.folder = Path(options.get("out", FOLDER))
        self.files = [self.folder / _FACTS]
        self._save: Callable[[Any], None] = lambda row: None

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        with json_rows(self.folder / _FACTS, lines=True) as self._save:
            yield

    def put(self, record: dict[str, Any]) -> None:
        if "error" not in record:
            self.files += [self.folder / name for name in self.pictures(record)]
            self._save(record)

    def pictures(self, record: dict[str, Any]) -> list[Path]:
        return [Path(record[name]) for name in ("labels", "overlay") if name in record]

    def lines(self, record: dict[str, Any]) -> list[str]:
        """The path, and the shares of the largest classes."""
        if "error" in record:
            return []
        largest = list(record["classes"].items())[:_SHARES]
        shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in largest)
        return [f"{printable(record['path'])}\t{printable(shares)}"]

    def summary(self, images: int, failed: int) -> list[str]:
        lines = [f"{images} images segmented; labels, overlays and {_FACTS} in {self.folder}"]
        return [*lines, f"{failed} problems"] if failed else lines
