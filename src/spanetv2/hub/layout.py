"""A folder in the Hub's layout: ``config.json``, ``model.safetensors``, ``README.md``, pictures."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from torch import nn

from spanetv2.files import atomic_path, write_json, write_text
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights.config_file import make_config
from spanetv2.models.weights.read import Checkpoint
from spanetv2.models.weights.record import DEFAULT_TASK
from spanetv2.models.weights.source import CONFIG, HUB_WEIGHTS
from spanetv2.tasks import find_task

__all__ = ["CARD", "copy_file", "make_metadata", "record_of", "write_layout"]

CARD = "README.md"
_METRICS = {"top1": "accuracy", "miou": "mean_iou"}


def write_layout(
    folder: Path,
    checkpoint: Checkpoint,
    card: str,
    *,
    model: nn.Module | None = None,
    pictures: Mapping[str, Path] | None = None,
    texts: Mapping[str, str] | None = None,
) -> list[Path]:
    """Write a network's files, each atomically, the weights last.

    Args:
        folder: made if it is missing; other files in it stay.
        checkpoint: whose ``path`` is a safetensors file of this package, which is copied.
        card: text of the card.
        model: the network, of a classifier.
        pictures: name in the folder -> file.
        texts: name in the folder -> content.

    Returns:
        The files.

    Raises:
        UserError: a network that cannot be described.
        OSError: the folder cannot be written.
    """
    config = make_config(record_of(checkpoint), model)
    written = [folder / CONFIG, folder / CARD]
    write_json(written[0], config)
    write_text(written[1], card)
    for name, text in (texts or {}).items():
        write_text(folder / name, text)
        written.append(folder / name)
    for name, path in {**(pictures or {}), HUB_WEIGHTS: checkpoint.path}.items():
        copy_file(path, folder / name)
        written.append(folder / name)
    return written


def record_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """The record that a checkpoint came with."""
    record = {
        "model_name": checkpoint.model_name,
        "model_kwargs": checkpoint.model_kwargs,
        "classes": checkpoint.classes,
        "preprocessing": checkpoint.preprocessing,
        "extra": checkpoint.extra,
    }
    return record if checkpoint.task == DEFAULT_TASK else {"task": checkpoint.task, **record}


def copy_file(source: Path, target: Path) -> None:
    """Copy a file, atomically."""
    with atomic_path(target, size=source.stat().st_size) as temporary:
        shutil.copyfile(source, temporary)


def make_metadata(
    checkpoint: Checkpoint,
    *,
    figures: Mapping[str, Any],
    data: str | None = None,
    licence: str | None = None,
    title: str | None = None,
) -> str:
    """What the Hub reads off a card: library, kind of work, licence, figures.

    Args:
        checkpoint: the weights.
        figures: what was measured, figure -> value.
        data: name of the data it was measured on.
        licence: of the weights, by the Hub's short name; None leaves it open.
        title: name of the model.

    Returns:
        Lines of YAML.
    """
    task = find_task(checkpoint.task)
    ours = checkpoint.model_name in VARIANTS
    classifier = checkpoint.task == DEFAULT_TASK
    results = [
        EvalResult(
            task_type=task.pipeline,
            dataset_type=data,
            dataset_name=data,
            metric_type=_METRICS.get(key, key),
            metric_name=name,
            metric_value=round(float(figures[key]), 6),
        )
        for key, name in task.figure_titles.items()
        if data and task.pipeline and isinstance(figures.get(key), int | float)
    ]
    tags = ["spanetv2", "vision", *(["timm"] if classifier else []), *([task.name])]
    described = ModelCardData(
        license=licence,
        library_name="timm" if classifier and not ours else "spanetv2",
        pipeline_tag=task.pipeline,
        tags=[*dict.fromkeys(tags)],
        model_name=title or checkpoint.model_name if results else None,
        eval_results=results or None,
    )
    return described.to_yaml()
