"""The pictures and the page of a finished run."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from spanetv2.data.preprocessing import Preprocessing, eval_transform
from spanetv2.models import load_model
from spanetv2.plain_yaml import read_yaml
from spanetv2.tasks.classification.data.sources import DatasetSpec, ImageSource, open_dataset
from spanetv2.tasks.classification.picture import (
    SheetRow,
    confusion_matrix,
    prediction_sheet,
    spectral_filters,
    training_curves,
)
from spanetv2.tasks.classification.report import html_report

__all__ = ["write_page"]

CURVES, CONFUSION = "training_curves.png", "confusion_matrix.png"
SHEET, FILTERS, PAGE = "predictions.png", "spectral_filters.png", "index.html"


def write_page(
    folder: Path,
    *,
    title: str,
    facts: Mapping[str, str],
    commands: Sequence[tuple[str, str]],
    progress: Callable[[str], None] | None = None,
) -> dict[str, Path]:
    """Draw what a run learned on its held-out images, beside the run's files, and a page of it all.

    Args:
        folder: of a finished run whose data can be opened again.
        title: heading of the page.
        facts: shown after the model's name and size, label -> value.
        commands: how to go on: (what it does, command line).
        progress: told what is being done.

    Returns:
        What was written, name for people -> file; the page last.
    """
    if progress is not None:
        progress("drawing pictures ...")
    model, checkpoint = load_model(folder)
    assert checkpoint.preprocessing is not None
    data = read_yaml(folder / "config.yaml", expected="the configuration of a run")["data"]
    spec = DatasetSpec(name=data["dataset"], root=data["root"], split=data["val_split"])
    source = open_dataset(spec)
    assert isinstance(source, ImageSource)
    training_curves(folder / "logs" / "metrics.csv", folder / CURVES)
    settings = Preprocessing.from_dict(checkpoint.preprocessing)
    _draw_predictions(model, source, settings, folder=folder)
    spectral_filters(model, folder / FILTERS)
    parameters = sum(p.numel() for p in model.parameters())
    shown = {
        "model": checkpoint.model_name or type(model).__name__,
        "parameters": f"{parameters / 1e6:.2f} M",
        **facts,
    }
    html_report(folder, title=title, facts=shown, commands=commands)
    return {
        "training curves": folder / CURVES,
        "confusion matrix": folder / CONFUSION,
        "predictions": folder / SHEET,
        "spectral filters": folder / FILTERS,
        "all on one page": folder / PAGE,
    }


def _draw_predictions(
    model: nn.Module, source: ImageSource, preprocessing: Preprocessing, *, folder: Path
) -> None:
    """Draw the sheet of predictions and the confusion matrix over all images of ``source``."""
    transform = eval_transform(preprocessing)
    images, labels = zip(*(source.sample(i) for i in range(len(source))), strict=True)
    probabilities = []
    with torch.inference_mode():
        for start in range(0, len(images), 64):
            batch = torch.stack([transform(image) for image in images[start : start + 64]])
            probabilities.append(model(batch).softmax(-1))
    best = torch.cat(probabilities).max(-1)
    matrix = np.zeros((len(source.classes),) * 2, dtype=np.int64)
    np.add.at(matrix, (np.asarray(labels), best.indices.numpy()), 1)
    confusion_matrix(matrix, source.classes, folder / CONFUSION)
    rows = [
        SheetRow(
            predicted=source.classes[int(index)],
            probability=min(1.0, float(value)),
            true=source.classes[label],
        )
        for label, index, value in zip(labels, best.indices, best.values, strict=True)
    ]
    prediction_sheet(images, rows, folder / SHEET)
