"""What is asked of a trained classifier: the test images, once, and its mixers.

Shape suffixes: B images, C channels, H and W in pixels.
"""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spanetv2.analysis.filtered import filtered_accuracy
from spanetv2.analysis.jacobian import jacobian_response
from spanetv2.analysis.mixers import find_mixers, record_calls
from spanetv2.analysis.spam_bank import spam_bank
from spanetv2.data.preprocessing import Preprocessing, eval_transform
from spanetv2.environment import describe_environment
from spanetv2.errors import UserError
from spanetv2.models.factory import load_model
from spanetv2.tasks.classification.data.loader import eval_loader
from spanetv2.tasks.classification.data.sources import DatasetSpec, open_dataset
from spanetv2.tasks.classification.evaluate import evaluate

__all__ = ["RADII", "learning_curve", "measure_classifier", "measure_segmenter"]

RADII = tuple(float(np.pi * f) for f in (1 / 8, 1 / 4, 1 / 2, 3 / 4))
"""Radii of the filtered test images, radians per pixel."""
_BATCH = 250


def learning_curve(table: Path) -> list[dict[str, float]]:
    """Update, epoch, learning rate and mean loss since the line before, from a run's log."""
    with table.open(newline="", encoding="utf-8") as stream:
        return [
            {
                "step": int(row["step"]),
                "epoch": int(row["epoch"]),
                "lr": float(row["lr"]),
                "loss": float(row["train/loss"]),
            }
            for row in csv.DictReader(stream)
            if row["train/loss"]
        ]


def _test_images(
    preprocessing: Preprocessing, dataset: str, root: str | None
) -> tuple[Tensor, Tensor, list[str]]:
    spec = DatasetSpec(name=dataset, root=root, split="val")
    source = open_dataset(spec, eval_transform(preprocessing))
    batches = list(eval_loader(source, batch_size=_BATCH))
    images = torch.cat([images for images, _ in batches])
    return images, torch.cat([targets for _, targets in batches]), source.classes


def measure_classifier(
    folder: Path,
    *,
    dataset: str,
    root: str | None,
    filtered_images: int,
    probe_images: int,
    device: str,
) -> dict[str, Any]:
    """Measure a finished run on the test images.

    Args:
        folder: of the run.
        dataset: name of the data set.
        root: its folder, if it needs one.
        filtered_images: images shown low- and high-pass filtered.
        probe_images: images at which frequency responses are taken.
        device: where.

    Returns:
        JSON values: accuracy, filtered accuracy, responses of the mixers, SPAM's bank.
    """
    model, checkpoint = load_model(folder, device=device)
    if checkpoint.preprocessing is None:
        raise UserError(f"{folder}: the weights do not tell how images are prepared")
    preprocessing = Preprocessing(**checkpoint.preprocessing)
    images, targets, classes = _test_images(preprocessing, dataset, root)
    batches = zip(images.split(_BATCH), targets.split(_BATCH), strict=True)
    found = evaluate(model, batches, classes=classes, device=device)
    filtered = filtered_accuracy(
        model, images[:filtered_images], targets[:filtered_images], radii=RADII, batch_size=_BATCH
    )
    mixers = [m for m in find_mixers(model) if "token_mixer" in m.name]
    calls, gaps = record_calls(model, mixers, images[:probe_images].to(device))
    if gaps:
        raise UserError(f"{folder}: no frequency response of {gaps[0].part}: {gaps[0].reason}")
    responses = [jacobian_response(call, images=probe_images) for call in calls]
    return {
        "images": found.images,
        "top1": found.top1,
        "loss": found.loss,
        "filtered": {"images": min(filtered_images, len(images)), **filtered.to_dict()},
        "responses": [
            {**response.scalars(), "radial": response.radial().to_dict()} for response in responses
        ],
        "bank": [
            {"mixer": one.name, "stage": one.stage, "curves": one.curves.to_dict()}
            for one in spam_bank(calls)
        ],
        "curve": learning_curve(folder / "logs" / "metrics.csv"),
        "training": json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["training"],
        "environment": describe_environment(),
    }


def measure_segmenter(folder: Path) -> dict[str, Any]:
    """What a finished segmentation run reached on the held-out images, as it measured them itself.

    Args:
        folder: of the run.

    Returns:
        JSON values: mean intersection over union, loss curve.
    """
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return {
        **{name: metrics[name] for name in ("images", "miou", "pixel_accuracy")},
        "curve": learning_curve(folder / "logs" / "metrics.csv"),
        "training": metrics["training"],
        "environment": describe_environment(),
    }
