"""``from_pretrained``, ``save_pretrained`` and ``push_to_hub`` for networks in Python."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spanetv2.errors import UserError
from spanetv2.hub.card import (
    Card,
    describe_classes,
    describe_file,
    describe_images,
    figure_rows,
    summarise,
)
from spanetv2.hub.layout import make_metadata, write_layout
from spanetv2.hub.push import check_push, push_folder, repository_of
from spanetv2.models.weights.read import read_checkpoint
from spanetv2.models.weights.record import DEFAULT_TASK
from spanetv2.models.weights.save import save_state_dict
from spanetv2.models.weights.source import (
    HUB,
    HUB_WEIGHTS,
    LOCAL,
    check_source,
    is_prefixed,
    parse_hub_name,
)
from spanetv2.tasks import all_tasks, find_task

__all__ = ["from_pretrained", "push_to_hub", "save_pretrained"]


def from_pretrained(
    name: str | os.PathLike[str],
    *,
    revision: str | None = None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Load a classifier, a segmenter or a detector from the Hub, or from a folder or file.

    Args:
        name: what is there as a file or folder, is one; so is a name of weights in the package.
            Anything else is owner/name of a repository on the Hub (``hf-hub:`` may stand before
            it), which is fetched.
        revision: branch, tag or commit of a repository.
        device: where to put it.

    Returns:
        The network in evaluation mode. What its file says of classes, images and figures is its
        attribute ``recorded`` (``classes``, ``preprocessing``, ``extra``).

    Raises:
        UserError: it cannot be had, or is damaged.

    Example:
        >>> model = from_pretrained("spanetv2_pico_pure.fashion_mnist")
        >>> model.num_classes, model.recorded["classes"][-1]
        (10, 'Ankle boot')
    """
    check_source(name)
    source = os.fspath(name)
    if not is_prefixed(source) and not Path(source).exists() and source.count("/") == 1:
        source = HUB + source
    if revision is not None:
        if not source.startswith(HUB):
            raise UserError(f"got revision {revision} for {name}, expected a repository on the Hub")
        source = f"{HUB}{parse_hub_name(source).repo}@{revision}"
    checkpoint = read_checkpoint(source)
    model: Any = find_task(checkpoint.task).load_network(checkpoint, device=device)
    model.recorded = {
        "classes": checkpoint.classes,
        "preprocessing": checkpoint.preprocessing,
        "extra": checkpoint.extra,
    }
    return model


def save_pretrained(
    model: nn.Module,
    folder: str | os.PathLike[str],
    *,
    classes: Sequence[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    card: str | None = None,
) -> list[Path]:
    """Write a network in the Hub's layout: ``from_pretrained``, every command and timm read it.

    Args:
        model: a classifier (made by ``spanetv2.create_model`` or ``timm.create_model``), a
            segmenter or a detector.
        folder: where to.
        classes: class names by index; None takes those that the network was loaded with.
        preprocessing: how its images are made, as for ``save_weights``; None likewise.
        extra: further facts, JSON values; None likewise.
        card: text of README.md; None writes one of what is known.

    Returns:
        The files.

    Raises:
        UserError: a network that cannot be described, or names that do not fit it.
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    return _write(
        model,
        folder,
        source=f"{LOCAL}{folder}",
        title=folder.resolve().name,
        given={"classes": classes, "preprocessing": preprocessing, "extra": extra},
        card=card,
    )


def push_to_hub(
    model: nn.Module,
    name: str,
    *,
    classes: Sequence[str] | None = None,
    preprocessing: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    card: str | None = None,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    message: str = "Weights, written by spanetv2",
) -> str:
    """Put a network on the Hub; for a run, ``spanetv2 push`` writes a fuller card.

    Args:
        model: as for ``save_pretrained``, like ``classes``, ``preprocessing``, ``extra``, ``card``.
        name: owner/name of the repository, made if it is not there.
        private: whether a new repository is; None leaves it to the Hub.
        token: for the Hub; None takes the one that `hf auth login` kept, or HF_TOKEN.
        revision: an existing branch; None is the main one.
        message: of the commit.

    Returns:
        Address of the commit.

    Raises:
        UserError: as for ``save_pretrained``; no token, or no right to write there.
    """
    repository = repository_of(name)
    check_push(repository, token=token)
    with tempfile.TemporaryDirectory() as folder:
        _write(
            model,
            Path(folder),
            source=HUB + repository,
            title=repository.partition("/")[2],
            given={"classes": classes, "preprocessing": preprocessing, "extra": extra},
            card=card,
        )
        pushed = push_folder(
            folder, repository, private=private, token=token, revision=revision, message=message
        )
    return pushed.address


def _write(
    model: nn.Module,
    folder: Path,
    *,
    source: str,
    title: str,
    given: Mapping[str, Any],
    card: str | None,
) -> list[Path]:
    known: Mapping[str, Any] = getattr(model, "recorded", {})
    facts = {key: known.get(key) if value is None else value for key, value in given.items()}
    record = _describe(model, facts)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / HUB_WEIGHTS
        save_state_dict(model.state_dict(), path, record)
        checkpoint = read_checkpoint(path)
        text = (
            card
            or Card(
                title=title,
                summary=summarise(checkpoint.model_name, checkpoint.task, checkpoint.extra),
                usage=(("python", find_task(checkpoint.task).loading_example(source)),),
                facts={
                    "network": checkpoint.model_name or "",
                    **describe_file(path, checkpoint),
                    "input": describe_images(checkpoint),
                    "classes": describe_classes(checkpoint.classes or []),
                },
                measured="What its file says was measured:",
                columns=("",),
                figures=figure_rows(checkpoint.task, checkpoint.extra),
                limits=find_task(checkpoint.task).limits(checkpoint),
                metadata=make_metadata(checkpoint, figures={}, title=title),
            ).text()
        )
        network = model if checkpoint.task == DEFAULT_TASK else None
        return write_layout(folder, checkpoint, text, model=network)


def _describe(model: nn.Module, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a network, from the task that it is of; classifiers are what is left."""
    for task in all_tasks():
        if task.name != DEFAULT_TASK and (record := task.describe_network(model, facts)):
            return record
    record = find_task(DEFAULT_TASK).describe_network(model, facts)
    assert record is not None
    return record
