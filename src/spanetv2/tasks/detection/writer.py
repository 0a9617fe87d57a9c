"""Where a detector's answers for image files go: pictures, and COCO's results format."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spanetv2.data.images import Failure
from spanetv2.data.paths import Chosen
from spanetv2.drawing import save_picture
from spanetv2.files import UniqueNames, json_rows
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.tasks.detection.picture import draw_objects
from spanetv2.tasks.detection.predict import Prediction, predict
from spanetv2.tasks.detection.results import coco_results
from spanetv2.tasks.detection.weights import category_ids, load_detector
from spanetv2.tasks.prediction import PredictionSettings, PredictionWriter, Predictor
from spanetv2.tasks.task import FOLDER
from spanetv2.text import printable

__all__ = ["DetectionPredictor", "DetectionWriter"]

_RESULTS = "results.json"
_SCORE = 0.5


class DetectionPredictor(Predictor):
    """A detector ready to answer for image files.

    Args:
        checkpoint: of a detector.
        settings: device, workers, and the options ``out`` and ``score``.
    """

    folder: Path

    def __init__(self, checkpoint: Checkpoint, settings: PredictionSettings):
        self.settings = settings
        self.batch_size = settings.batch_size
        self.folder = Path(settings.options.get("out", FOLDER))
        self.score = settings.options.get("score", _SCORE)
        recorded = checkpoint.fact("detector", DetectorOptions)
        threshold = min(self.score, 1 - 1e-6)
        if recorded is not None:
            threshold = min(threshold, recorded.score_threshold)
        self.detector, self.checkpoint = load_detector(
            checkpoint,
            device=settings.device,
            dtype=settings.dtype,
            score_threshold=threshold,
        )
        self._classes = self.checkpoint.classes or []
        self._category_ids = category_ids(self.checkpoint)

    def predict(
        self, paths: Iterable[str | os.PathLike[str]], *, chosen: Chosen | None = None
    ) -> Iterator[Prediction | Failure]:
        return predict(
            self.detector,
            paths,
            score=self.score,
            batch_size=self.batch_size,
            device=self.settings.device,
            workers=self.settings.workers,
            max_pixels=self.settings.options.get("max_pixels"),
            chosen=chosen,
        )

    def targets(self, paths: Iterable[str]) -> Iterator[Path]:
        yield self.folder / _RESULTS
        names = UniqueNames()
        yield from (self.folder / f"{names.name(path)}.png" for path in paths)

    def places(self) -> Callable[[str], tuple[str, int]]:
        names, ids = UniqueNames(), _ImageIds()
        return lambda path: (names.name(path), ids.of(path))

    def answer(self, prediction: Prediction, place: tuple[str, int]) -> dict[str, Any]:
        name, image_id = place
        objects = coco_results(
            prediction.found(), image_id, self._category_ids, file_name=prediction.path
        )
        target = self.folder / f"{name}.png"
        picture = draw_objects(
            prediction.image,
            prediction.boxes,
            prediction.labels,
            self._classes,
            scores_N=prediction.scores,
            masks_N1MM=prediction.masks,
        )
        save_picture(picture, target)
        return {"path": prediction.path, "picture": target.name, "objects": objects}

    def facts(self) -> dict[str, Any]:
        return {"classes": self._classes, "category_ids": list(self._category_ids)}


class _ImageIds:
    """COCO's file names are the ids of images; others are numbered."""

    def __init__(self) -> None:
        self._used: set[int] = set()
        self._counts: dict[int, int] = {}

    def of(self, path: str) -> int:
        stem = Path(path).stem
        first = int(stem) if stem.isascii() and stem.isdigit() and len(stem) < 19 else 1
        number = self._counts.get(first, first)
        while number in self._used:
            number += 1
        self._counts[first] = number + 1
        self._used.add(number)
        return number


class DetectionWriter(PredictionWriter):
    """Writes what was found in COCO's results format.

    Args:
        facts: of the predictor.
        options: ``out`` of ``spanetv2 predict``.
    """

    def __init__(self, facts: Mapping[str, Any], options: Mapping[str, Any]):
        self.folder = Path(options.get("out", FOLDER))
        ids = [str(own) for own in facts["category_ids"]]
        self._titles = dict(zip(ids, facts["classes"], strict=True))
        self.files = [self.folder / _RESULTS]
        self._objects = 0
        self._save: Callable[[Any], None] = lambda row: None

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        with json_rows(self.folder / _RESULTS) as self._save:
            yield

    def put(self, record: dict[str, Any]) -> None:
        self.files += [self.folder / name for name in self.pictures(record)]
        for row in record.get("objects", ()):
            self._objects += 1
            self._save(row)

    def pictures(self, record: dict[str, Any]) -> list[Path]:
        return [Path(record["picture"])] if "picture" in record else []

    def lines(self, record: dict[str, Any]) -> list[str]:
        """Path, class, score and box of each object, separated by tabs."""
        told = []
        for row in record.get("objects", ()):
            left, top, width, height = row["bbox"]
            box = "\t".join(f"{x:.1f}" for x in (left, top, left + width, top + height))
            title = printable(self._titles[str(row["category_id"])])
            told.append(f"{printable(record['path'])}\t{title}\t{row['score']:.4f}\t{box}")
        return told

    def summary(self, images: int, failed: int) -> list[str]:
        objects, folder = self._objects, self.folder
        lines = [f"{objects} objects in {images} images; pictures and {_RESULTS} in {folder}"]
        return [*lines, f"{images} images searched, {failed} problems"] if failed else lines
