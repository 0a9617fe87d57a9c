"""``spanetv2 quickstart``: train on handwritten digits, then show everything on one page."""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from torch import nn

    from spanetv2.tasks.classification.data.sources import ImageSource
    from spanetv2.training.run import RunResult

__all__ = ["quickstart"]

DEFAULT_FOLDER = Path("runs/quickstart")
# Pictures and page are written beside what the training run leaves in the folder.
CURVES, CONFUSION = "training_curves.png", "confusion_matrix.png"
SHEET, FILTERS, PAGE = "predictions.png", "spectral_filters.png", "index.html"


def quickstart(
    out: Annotated[Path, typer.Option(help="Folder for weights, metrics and pictures.")] = (
        DEFAULT_FOLDER
    ),
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Train this long instead of the recipe's length.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a run that is already in the folder.")
    ] = False,
) -> None:
    """Train a small SPANetV2 on scikit-learn's handwritten digits, and show what it learned.

    1,797 real images that ship with scikit-learn; a fixed fifth of them is held out. Takes a few
    minutes on two cores. What the default folder already holds is replaced.
    """
    from spanetv2.cli.train import run_training
    from spanetv2.training.stopping import Interrupted

    arguments = ["classification", "--config", "digits", "--out", str(out)]
    if overwrite or out == DEFAULT_FOLDER:
        arguments.append("--overwrite")
    if epochs is not None:
        arguments += ["--trainer.max_epochs", str(epochs)]
        # The recipe's warm-up would be all of a very short run.
        arguments += ["--schedule.warmup_epochs", str(min(3, epochs // 4))]
    start = time.perf_counter()
    try:
        result = run_training(arguments)
    except Interrupted as stopped:
        typer.echo(str(stopped), err=True)
        raise typer.Exit(stopped.status) from None
    assert result is not None  # only --print-config ends without a run
    show(result)
    _tell(result, seconds=time.perf_counter() - start)


def show(result: "RunResult") -> None:
    """Draw the pictures of a finished run on the digits, and write its page."""
    from spanetv2.data.preprocessing import Preprocessing
    from spanetv2.models import load_model
    from spanetv2.tasks.classification.data.sources import DatasetSpec, ImageSource, open_dataset
    from spanetv2.tasks.classification.picture import spectral_filters, training_curves
    from spanetv2.tasks.classification.report import html_report

    print("drawing pictures ...", file=sys.stderr, flush=True)
    folder = result.folder
    model, checkpoint = load_model(result.weights)
    assert checkpoint.preprocessing is not None
    source = open_dataset(DatasetSpec(name="digits", split="val"))
    assert isinstance(source, ImageSource)
    training_curves(folder / "logs" / "metrics.csv", folder / CURVES)
    _draw_predictions(
        model, source, Preprocessing.from_dict(checkpoint.preprocessing), folder=folder
    )
    spectral_filters(model, folder / FILTERS)
    parameters = sum(p.numel() for p in model.parameters())
    html_report(
        folder,
        title="SPANetV2 quick start: handwritten digits",
        facts={
            "model": checkpoint.model_name or type(model).__name__,
            "parameters": f"{parameters / 1e6:.2f} M",
            "data": "handwritten digits, a fifth held out",
            **_training_facts(result.metrics),
        },
        commands=[
            (
                "Classify images of your own (light strokes on a dark ground, like these digits):",
                f"spanetv2 predict {folder} IMAGE_OR_FOLDER",
            ),
            (
                "Train on your own folder of images, with train/ and val/ in it and in each one "
                "folder per class:",
                "spanetv2 train classification --config finetune --data /path/to/images "
                "--weights CHECKPOINT --out runs/mine",
            ),
            ("See all recipes, and the published models:", "spanetv2 recipes; spanetv2 models"),
            (
                "Use the trained model in Python:",
                "import spanetv2\n"
                f'model, checkpoint = spanetv2.load_model("{folder / "weights.safetensors"}")',
            ),
        ],
    )


def _draw_predictions(
    model: "nn.Module", source: "ImageSource", preprocessing: Any, *, folder: Path
) -> None:
    """Draw the sheet of predictions and the confusion matrix over all images of ``source``."""
    import numpy as np
    import torch

    from spanetv2.data.preprocessing import eval_transform
    from spanetv2.tasks.classification.picture import SheetRow, confusion_matrix, prediction_sheet

    transform = eval_transform(preprocessing)
    images, labels = zip(*(source[i] for i in range(len(source))), strict=True)
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


def _training_facts(metrics: dict[str, Any]) -> dict[str, str]:
    training = metrics.get("training", {})
    facts = {}
    if "epochs" in training:
        facts["epochs"] = str(training["epochs"])
    if "seconds" in training:
        facts["training time"] = f"{training['seconds']:.0f} s"
    return facts


def _tell(result: "RunResult", *, seconds: float) -> None:
    metrics, folder = result.metrics, result.folder
    training = metrics.get("training", {}).get("seconds")
    spent = f"{seconds:.0f} s" + ("" if training is None else f", {training:.0f} s of it training")
    typer.echo(f"\ntop-1 on held-out images: {100 * metrics['top1']:.2f} %  ({spent})")
    for what, name in (
        ("weights", result.weights.name),
        ("metrics", "metrics.json"),
        ("training curves", CURVES),
        ("confusion matrix", CONFUSION),
        ("predictions", SHEET),
        ("spectral filters", FILTERS),
        ("all on one page", PAGE),
    ):
        typer.echo(f"  {what:<17} {folder / name}")
    typer.echo(f"open {(folder / PAGE).resolve().as_uri()}")
