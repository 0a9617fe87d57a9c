"""A folder in the Hub's layout: ``config.json``, ``model.safetensors``, ``README.md``, pictures."""

import contextlib
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from torch import nn

from spanetv2.errors import UserError
from spanetv2.files import atomic_path, read_json, write_json, write_text
from spanetv2.hub.card import MARK
from spanetv2.models.variants import VARIANTS
from spanetv2.models.weights.config_file import make_config
from spanetv2.models.weights.read import Checkpoint
from spanetv2.models.weights.record import DEFAULT_TASK, METADATA_KEY
from spanetv2.models.weights.source import CONFIG, HUB_WEIGHTS, RUN_WEIGHTS
from spanetv2.tasks import find_task

__all__ = ["CARD", "copy_file", "is_theirs", "make_metadata", "record_of", "write_layout"]

CARD = "README.md"
_logger = logging.getLogger(__name__)
_METRICS = {"top1": "accuracy", "miou": "mean_iou"}


def write_layout(
    folder: Path,
    checkpoint: Checkpoint,
    card: str,
    *,
    model: nn.Module | None = None,
    pictures: Mapping[str, Path] | None = None,
    texts: Mapping[str, str] | None = None,
    licence: str | None = None,
) -> list[Path]:
    """Write a network's files, each atomically, the weights last.

    A card there that somebody wrote is kept.

    Args:
        folder: made if it is missing; other files in it stay.
        checkpoint: whose ``path`` is a safetensors file of this package, which is copied.
        card: text of the card.
        model: the network, of a classifier.
        pictures: name in the folder -> file.
        texts: name in the folder -> content.
        licence: of the weights, for ``config.json``; None leaves it open there too.

    Returns:
        The files.

    Raises:
        UserError: a network that cannot be described, or a folder with files of something else by
            the same names.
        OSError: the folder cannot be written.
    """
    config = make_config(record_of(checkpoint), model)
    if "pretrained_cfg" in config:  # timm's of the architecture is of the code, not the weights
        config["pretrained_cfg"].pop("license", None)
        config["pretrained_cfg"] |= {} if licence is None else {"license": licence}
    contents = {CARD: card, **(texts or {})}
    copied = {**(pictures or {}), HUB_WEIGHTS: checkpoint.path}
    _refuse_foreign(folder, [CONFIG, *contents, *copied])
    if MARK in card and is_theirs(folder / CARD):
        _logger.warning("%s was not written by this package, and is kept", folder / CARD)
        del contents[CARD]
    write_json(folder / CONFIG, config)
    for name, text in contents.items():
        write_text(folder / name, text)
    for name, path in copied.items():
        copy_file(path, folder / name)
    return [folder / name for name in (CONFIG, *contents, *copied)]


def _refuse_foreign(folder: Path, names: list[str]) -> None:
    """Refuse to write over files of the same names that are no network's in this layout."""
    if (folder / RUN_WEIGHTS).exists():
        raise UserError(f"got {folder}, the folder of a run, expected another folder")
    found = next((name for name in names if (folder / name).exists()), None)
    if found is None:
        return
    with contextlib.suppress(UserError):
        config = read_json(folder / CONFIG, expected="a network's description")
        if (folder / HUB_WEIGHTS).is_file() and {"architecture", METADATA_KEY} & {*config}:
            return
    raise UserError(
        f"got {folder}, whose {found} is of something else, expected a new folder, or one with a "
        "network that this package wrote"
    )


def is_theirs(card: Path) -> bool:
    """Whether there is a card that this package did not write."""
    return card.is_file() and MARK not in card.read_text(encoding="utf-8", errors="replace")


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
