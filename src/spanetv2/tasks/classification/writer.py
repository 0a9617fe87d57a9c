"""Where a classifier's answers for image files go: a table, JSON, a picture."""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from spanetv2.data.classes import class_titles, model_classes
from spanetv2.data.images import Failure, read_image
from spanetv2.data.paths import Chosen
from spanetv2.data.preprocessing import eval_transform
from spanetv2.drawing import picture_format
from spanetv2.errors import UserError
from spanetv2.files import json_rows
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.classification import predict as predicting
from spanetv2.tasks.classification.predict import Prediction
from spanetv2.tasks.classification.weights import gives_several, load_classifier
from spanetv2.tasks.prediction import PredictionSettings, PredictionWriter, Predictor
from spanetv2.text import printable

__all__ = ["SHEET", "ClassificationPredictor", "ClassificationWriter"]

SHEET = 48
"""Most images that a picture shows."""

_RESULTS = "predictions.jsonl"


class ClassificationPredictor(Predictor):
    """A classifier ready to answer for image files.

    Args:
        checkpoint: of a classifier.
        settings: device, workers, and the options ``top_k``, ``score``, ``json``, ``out``,
            ``picture`` and ``max_pixels``.

    Raises:
        UserError: a lowest score for a classifier that gives one class an image.
    """

    def __init__(self, checkpoint: Checkpoint, settings: PredictionSettings):
        self.settings = settings
        self.batch_size = settings.batch_size
        self.model, outputs, self.preprocessing = load_classifier(
            checkpoint, device=settings.device, dtype=settings.dtype
        )
        out = settings.options.get("out")
        self.folder = None if out is None else Path(out)
        self.names = model_classes(checkpoint.classes, outputs)
        self.titles = class_titles(self.names)
        self.multi_label = gives_several(checkpoint)
        self.score: float | None = settings.options.get("score")
        if self.multi_label:
            self.score = 0.5 if self.score is None else self.score
        elif self.score is not None:
            raise UserError(
                f"got --score {self.score} for {checkpoint.path}, which gives one class an image; "
                "expected it for detectors and for classes of which an image has several"
            )

    def predict(
        self, paths: Iterable[str | os.PathLike[str]], *, chosen: Chosen | None = None
    ) -> Iterator[Prediction | Failure]:
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
            chosen=chosen,
        )

    def targets(self, paths: Iterable[str]) -> Iterator[str | os.PathLike[str]]:
        yield from _targets(self.settings.options).values()

    def answer(self, prediction: Prediction, place: None) -> dict[str, Any]:
        ranked = zip(prediction.indices, prediction.probabilities, strict=True)
        rows = [
            {
                "class": self.names[i],
                "title": self.titles[i],
                "index": i,
                "probability": round(p, 6),
            }
            for i, p in ranked
            if self.score is None or p >= self.score
        ]
        return {"path": prediction.path, "predictions": rows}

    def facts(self) -> dict[str, Any]:
        return {"white": self.preprocessing.white}


class ClassificationWriter(PredictionWriter):
    """Puts the classes of images into a table, JSON and a picture.

    Args:
        facts: of the predictor.
        options: ``json``, ``out``, ``picture`` and ``max_pixels`` of ``spanetv2 predict``.
    """

    def __init__(self, facts: Mapping[str, Any], options: Mapping[str, Any]):
        self._targets = _targets(options)
        self._as_json = options.get("json") == "-"
        self.prints = "json" not in self._targets
        self.files = [path for name, path in self._targets.items() if name == "json"]
        self._read = functools.partial(
            read_image, white=facts.get("white"), max_pixels=options.get("max_pixels")
        )
        self._save: Callable[[Any], None] | None = None
        self._shown: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        target, picture = self._targets.get("json"), self._targets.get("picture")
        with contextlib.ExitStack() as stack:
            if target is not None:
                lines = target.suffix == ".jsonl"
                self._save = stack.enter_context(json_rows(target, lines=lines))
            yield
        if picture is not None and self._shown:
            self._draw(picture)
            self.files.append(picture)

    def put(self, record: dict[str, Any]) -> None:
        if self._save is not None:
            self._save(record)
        if "picture" in self._targets and "error" not in record and len(self._shown) < SHEET:
            self._shown.append(record)

    def lines(self, record: dict[str, Any]) -> list[str]:
        """Path, class and probability of each class, separated by tabs; or JSON."""
        if self._as_json:
            text = json.dumps(record, ensure_ascii=False)
            return [text.encode("utf-8", "backslashreplace").decode("utf-8")]
        if not self.prints or "error" in record:
            return []
        path = printable(record["path"])
        told = [
            f"{path}\t{printable(row['title'])}\t{row['probability']:.4f}"
            for row in record["predictions"]
        ]
        return told or [f"{path}\t\t"]  # none of the classes

    def summary(self, images: int, failed: int) -> list[str]:
        written = self._targets.get("json")
        if not failed and written is None:
            return []
        problems = f", {failed} problems" if failed else ""
        where = "" if written is None else f"; predictions in {printable(str(written))}"
        return [f"{images} images classified{problems}{where}"]

    def _draw(self, path: Path) -> None:
        """Draw the first images, with their classes."""
        from spanetv2.tasks.classification.picture import SheetRow, prediction_sheet

        images, rows = [], []
        for record in self._shown:
            image = self._read(record["path"])
            image.thumbnail((256, 256))
            images.append(image)
            told = record["predictions"]
            title = ", ".join(row["title"] for row in told) or "none of the classes"
            probability = min(1.0, told[0]["probability"]) if told else None
            rows.append(SheetRow(predicted=title, probability=probability))
        prediction_sheet(images, rows, path)


def _targets(options: Mapping[str, Any]) -> dict[str, Path]:
    """Where answers go, ``json`` and ``picture``; standard output is no such place."""
    json, out, picture = (options.get(name) for name in ("json", "out", "picture"))
    found = {} if json in (None, "-") else {"json": Path(str(json))}
    if out is not None and json is None:
        found["json"] = Path(out) / _RESULTS
    if picture is not None:
        picture_format(picture)
        found["picture"] = Path(picture)
    return found
