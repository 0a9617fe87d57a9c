"""Where a detector's answers for image files go: pictures, and COCO's results format."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from spanetv2.data.images import Failure
from spanetv2.drawing import save_picture
from spanetv2.files import UniqueNames, json_rows
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.detection.data.ids import OwnId
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.tasks.detection.picture import draw_objects
from spanetv2.tasks.detection.predict import Prediction, predict
from spanetv2.tasks.detection.results import coco_results
from spanetv2.tasks.detection.weights import category_ids, load_detector
from spanetv2.tasks.prediction import Answer, PredictionSettings, PredictionWriter, Predictor
from spanetv2.text import printable

__all__ = ["DetectionPredictor", "DetectionWriter"]

_RESULTS = "results.json"
_SCORE = 0.5


class DetectionPredictor(Predictor):
    """A detector ready to answer for image files.

    Args:
        checkpoint: of a detector.
        settings: device, workers, and the options ``out`` and ``score``.
        batch_size: images per forward pass.
    """

    folder: Path

    def __init__(self, checkpoint: Checkpoint, settings: PredictionSettings, *, batch_size: int):
        self.settings = settings
        self.batch_size = batch_size
        self.folder = Path(settings.options.get("out", "predictions"))
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

    def predict(self, paths: Iterable[str | os.PathLike[str]]) -> Iterator[Prediction | Failure]:
        return predict(
            self.detector,
            paths,
            score=self.score,
            batch_size=self.batch_size,
            device=self.settings.device,
            workers=self.settings.workers,
            max_pixels=self.settings.options.get("max_pixels"),
        )

    def targets(self, paths: Iterable[str]) -> Iterator[Path]:
        yield self.folder / _RESULTS
        names = UniqueNames()
        yield from (self.folder / f"{names.name(path)}.png" for path in paths)

    @contextlib.contextmanager
    def writer(self) -> Iterator["DetectionWriter"]:
        names = self.checkpoint.classes or []
        ids = category_ids(self.checkpoint)
        with json_rows(self.folder / _RESULTS) as save:
            yield DetectionWriter(self.folder, save, names=names, category_ids=ids)


class DetectionWriter(PredictionWriter):
    """Draws what was found in an image, and writes it in COCO's results format.

    Args:
        folder: where pictures go.
        save: takes a JSON row.
        names: class names; label k is the k-th.
        category_ids: the classes' ids in COCO annotations.
    """

    def __init__(
        self,
        folder: Path,
        save: Callable[[Any], None],
        *,
        names: list[str],
        category_ids: Sequence[OwnId],
    ):
        self.folder = folder
        self.save = save
        self.names = names
        self.category_ids = category_ids
        self.files = [folder / _RESULTS]
        self.objects = 0
        self._names = UniqueNames()
        self._image_ids: set[int] = set()

    def write(self, prediction: Prediction) -> Answer:
        detected = prediction.found()
        self.objects += len(detected.labels)
        rows = coco_results(
            detected,
            self._image_id(prediction.path),
            self.category_ids,
            file_name=prediction.path,
        )
        for row in rows:
            self.save(row)
        target = self.folder / f"{self._names.name(prediction.path)}.png"
        picture = draw_objects(
            prediction.image,
            prediction.boxes,
            prediction.labels,
            self.names,
            scores_N=prediction.scores,
            masks_N1MM=prediction.masks,
        )
        save_picture(picture, target)
        self.files.append(target)
        record = {"path": prediction.path, "picture": target.name, "objects": rows}
        return Answer(record=record, lines=list(self._lines(prediction)))

    def _lines(self, prediction: Prediction) -> Iterator[str]:
        """Path, class, score and box of each object, separated by tabs."""
        path = printable(prediction.path)
        for label, score, box in zip(
            prediction.labels.tolist(),
            prediction.scores.tolist(),
            prediction.boxes.tolist(),
            strict=True,
        ):
            corners = "\t".join(f"{value:.1f}" for value in box)
            yield f"{path}\t{printable(self.names[label - 1])}\t{score:.4f}\t{corners}"

    def _image_id(self, path: str) -> int:
        """COCO's file names are the ids of images; others are numbered."""
        stem = Path(path).stem
        number = int(stem) if stem.isascii() and stem.isdigit() and len(stem) < 19 else 1
        while number in self._image_ids:
            number += 1
        self._image_ids.add(number)
        return number

    def summary(self, images: int, failed: int) -> list[str]:
        lines = [
            f"{self.objects} objects in {images} images; pictures and {_RESULTS} in {self.folder}"
        ]
        return [*lines, f"{images} images searched, {failed} problems"] if failed else lines
