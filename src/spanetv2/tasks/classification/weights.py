"""Classifiers on disk, ready to answer: what evaluating and predicting have in common."""

from typing import cast

import torch
from torch import nn

from spanetv2.data.preprocessing import Preprocessing
from spanetv2.errors import UserError
from spanetv2.models import load_model
from spanetv2.models.weights.images import image_preprocessing
from spanetv2.models.weights.read import Checkpoint
from spanetv2.precision import compute_in

__all__ = ["gives_several", "load_classifier"]


def gives_several(checkpoint: Checkpoint) -> bool:
    """Whether each of a classifier's outputs is a yes or no of its own."""
    return checkpoint.extra.get("multi_label") is True


def load_classifier(
    checkpoint: Checkpoint,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[nn.Module, int, Preprocessing]:
    """Build the classifier that a checkpoint describes and load it.

    Args:
        checkpoint: what was read.
        device: where to put it.
        dtype: to compute in; images and outputs are float32 all the same.

    Returns:
        The model in evaluation mode, its number of classes, and how its images are made.

    Raises:
        UserError: damaged, of another task, or a network without a classifier.
    """
    model, checkpoint = load_model(checkpoint, device=device)
    classes = cast(int, model.num_classes)
    if classes < 1:
        raise UserError(
            f"{checkpoint.path}: weights of a network without a classifier, expected one; models "
            "of other tasks are read from the files of their runs, not from bare state dicts"
        )
    compute_in(model, dtype)
    return model, classes, image_preprocessing(model, checkpoint)
