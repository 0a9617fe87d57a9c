"""Where a classifier's answers for image files go: a table, JSON, a picture."""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from spanetv2.data.classes import class_titles, model_classes
from spanetv2.data.images import Failure, read_image
from spanetv2.data.preprocessing import eval_transform
from spanetv2.errors import UserError
from spanetv2.files import json_rows
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.classification import predict as predicting
from spanetv2.tasks.classification.predict import Prediction
from spanetv2.tasks.classification.weights import gives_several, load_classifier
from spanetv2.tasks.prediction import Answer, PredictionSettings, PredictionWriter, Predictor
from spanetv2.text import printable

__all__ = ["SHEET", "ClassificationPredictor", "ClassificationWriter"]

SHEET = 48
"""Most images that a picture shows."""


class ClassificationPredictor(Predictor):
    """A classifier ready to answer for image files.

    Args:
        checkpoint: of a classifier.
        settings: device, workers, and the options ``top_k``, ``score``, ``json``, ``picture`` and
            ``max_pixels``.
        batch_size: images per forward pass.

    Raises:
        UserError: a lowest score for a classifier that gives one class an image.
    """

    def __init__(self, checkpoint: Checkpoint, settings: PredictionSettings, *, batch_size: int):
        self.settings = settings
        self.batch_size = batch_size
        self.model, outputs, self.preprocessing = load_classifier(
            checkpoint, device=settings.device, dtype=settings.dtype
        )
        self.names = model_classes(checkpoint.classes, outputs)
        self.multi_label = gives_several(checkpoint)
        self.score: float | None = settings.options.get("score")
        if self.multi_label:
            self.score = 0.5 if self.score is None else self.score
        elif self.score is not None:
            raise UserError(
                f"got --score {self.score} for {checkpoint.path}, which gives one class an image; "
                "expected it for detectors and for classes of which an image has several"
            )

    def predict(self, paths: Iterable[str | os.PathLike[str]]) -> Iterator[Prediction | Failure]:
        return predicting.predict(
            self.model,
            paths,
            transform=eval_transform(self.preprocessing),
            top_k=self.settings.options.get("top_k", len(self.names) if self.multi_label else 5),
            batch_size=self.batch_size,
            device=self.settings.device,
            workers=self.settings.workers,
            multi_label=self.multi_label,
            white=self.preprocessing.white,
            max_pixels=self.settings.options.get("max_pixels"),
        )

    def targets(self, paths: Iterable[str]) -> Iterator[str | os.PathLike[str]]:
        options = self.settings.options
        given = (options.get("json"), options.get("picture"))
        yield from (target for target in given if target not in (None, "-"))

    @contextlib.contextmanager
    def writer(self) -> Iterator["ClassificationWriter"]:
        target: Any = self.settings.options.get("json")
        picture = self.settings.options.get("picture")
        with contextlib.ExitStack() as stack:
            save = None
            if target not in (None, "-"):
                save = stack.enter_context(json_rows(target, lines=str(target).endswith(".jsonl")))
            writer = ClassificationWriter(
                self.names,
                save=save,
                as_json=target == "-",
                keep=0 if picture is None else SHEET,
                score=self.score,
                read=functools.partial(
                    read_image,
                    white=self.preprocessing.white,
                    max_pixels=self.settings.options.get("max_pixels"),
                ),
            )
            writer.files = [] if save is None else [Path(str(target))]
            yield writer
        if picture is not None and writer.shown:
            writer.draw(picture)
            writer.files.append(Path(picture))


class ClassificationWriter(PredictionWriter):
    """Puts the classes of an image into words and JSON.

    Args:
        names: class names by index.
        save: takes a JSON row, where answers go into a file.
        as_json: print answers as JSON, a line each, instead of a table.
        keep: number of predictions to keep for a picture.
        score: lowest probability of a class to be told, where an image may have several or none;
            None tells all that were predicted.
        read: reads an image for the picture.
    """

    def __init__(
        self,
        names: list[str],
        *,
        save: Callable[[Any], None] | None = None,
        as_json: bool = False,
        keep: int = 0,
        score: float | None = None,
        read: Callable[[str], Image.Image] = read_image,
    ):
        self.score = score
        self.read = read
        self.names = names
        self.titles = class_titles(names)
        self.save = save
        self.as_json = as_json
        self.keep = keep
        self.prints = save is None
        self.files = []
        self.shown: list[Prediction] = []

    def write(self, prediction: Prediction) -> Answer:
        if len(self.shown) < self.keep:
            self.shown.append(prediction)
        ranked = self._told(prediction)
        classes = [
            {
                "class": self.names[i],
                "title": self.titles[i],
                "index": i,
                "probability": round(p, 6),
            }
            for i, p in ranked
        ]
        record = {"path": prediction.path, "predictions": classes}
        if self.save is not None or self.as_json:
            return Answer(record=record, lines=self._put(record))
        path = printable(prediction.path)
        lines = [f"{path}\t{printable(self.titles[i])}\t{p:.4f}" for i, p in ranked]
        lines = lines or [f"{path}\t\t"]  # none of the classes
        return Answer(record=record, lines=lines)

    def _told(self, prediction: Prediction) -> list[tuple[int, float]]:
        """Classes and their probabilities, as far as they are to be told."""
        ranked = zip(prediction.indices, prediction.probabilities, strict=True)
        return [(i, p) for i, p in ranked if self.score is None or p >= self.score]

    def fail(self, failure: Failure) -> list[str]:
        return self._put({"path": failure.path, "error": failure.reason})

    def _put(self, record: dict[str, Any]) -> list[str]:
        if self.save is not None:
            self.save(record)
        if not self.as_json:
            return []
        text = json.dumps(record, ensure_ascii=False)
        return [text.encode("utf-8", "backslashreplace").decode("utf-8")]

    def summary(self, images: int, failed: int) -> list[str]:
        return [f"{images} images classified, {failed} problems"] if failed else []

    def draw(self, path: Path) -> None:
        """Draw the images kept, with their classes."""
        from spanetv2.tasks.classification.picture import SheetRow, prediction_sheet

        images, rows = [], []
        for prediction in self.shown:
            image = self.read(prediction.path)
            image.thumbnail((256, 256))
            images.append(image)
            first = list(zip(prediction.indices, prediction.probabilities, strict=True))[:1]
            told = first if self.score is None else self._told(prediction)
            title = ", ".join(self.titles[i] for i, _ in told) or "none of the classes"
            rows.append(SheetRow(predicted=title, probability=min(1.0, first[0][1])))
        prediction_sheet(images, rows, path)
