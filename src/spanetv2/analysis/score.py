"""How good a network's predictions are, as a function of what is done to its images.

A classifier's top-1 accuracy is made here; a command hands over mIoU or average precision of the
networks of other tasks. Every measurement that changes images (filters, waves, corruptions) asks a
``Score``, and does not know what is predicted.

Shape suffixes: B images, C channels, H and W in pixels.
"""

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from spanetv2.analysis.network import feed, logits_of, measuring, single_precision
from spanetv2.errors import UserError

__all__ = ["Change", "Score", "check_labels", "top1", "top1_score"]

Change = Callable[[Tensor], Tensor]
"""From normalised images (B, C, H, W) to others of the same shape."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """A measure of predictions, from 0 (all wrong) to 1.

    Args:
        title: what it is, such as "top-1", "mIoU", "box AP".
        measure: of all images, each batch changed before the network sees it, in a fixed order;
            None changes nothing.
        images: how many there are.
        mean: (C,) mean of all normalised pixels, given back to high-pass images.
        std: what the images' channels were divided by.
        offset: what was subtracted before, in pixel values 0..1.
    """

    title: str
    measure: Callable[[Change | None], float]
    images: int
    mean: Tensor
    std: Sequence[float]
    offset: Sequence[float]


def check_labels(targets_B: Tensor, images_BCHW: Tensor, outputs: int | None = None) -> None:
    """Refuse labels that do not belong to the images.

    Raises:
        UserError: another number of labels than images, no images, or labels off the outputs.
    """
    if len(targets_B) != len(images_BCHW) or len(images_BCHW) == 0:
        raise UserError(
            f"got {len(targets_B)} labels for {len(images_BCHW)} images, expected one per image"
        )
    if targets_B.min() < 0 or (outputs is not None and targets_B.max() >= outputs):
        raise UserError(f"got labels up to {int(targets_B.max())} for {outputs} outputs")


def top1(
    model: nn.Module,
    images_BCHW: Tensor,
    targets_B: Tensor,
    change: Callable[[Tensor], Tensor] | None = None,
    *,
    batch_size: int = 32,
) -> float:
    """Share of images whose highest output is their label.

    Args:
        model: a classifier; it is run in evaluation mode and left in its own.
        images_BCHW: normalised images.
        targets_B: their labels, as indices of outputs.
        change: applied to each batch on the model's device, in the images' precision.
        batch_size: images per forward pass.

    Raises:
        UserError: labels that do not fit, no classifier, or logits that are not finite.
    """
    check_labels(targets_B, images_BCHW)
    right = 0
    with torch.inference_mode(), measuring(model):
        for batch, target in zip(
            images_BCHW.split(batch_size), targets_B.split(batch_size), strict=True
        ):
            batch = batch.to(feed(model, batch).device)
            logits = logits_of(model, batch if change is None else change(batch))
            if not torch.isfinite(logits).all():
                raise UserError("the model's outputs are not finite; check the weights")
            if int(target.max()) >= logits.shape[1]:
                raise UserError(f"got label {int(target.max())} for {logits.shape[1]} outputs")
            right += int((logits.argmax(1).cpu() == target).sum())
    return right / len(images_BCHW)


def top1_score(
    model: nn.Module,
    images_BCHW: Tensor,
    targets_B: Tensor,
    *,
    std: Sequence[float],
    offset: Sequence[float],
    batch_size: int = 32,
) -> Score:
    """The share of images whose highest output is their label; see ``top1``.

    Raises:
        UserError: labels that do not fit the images.
    """
    check_labels(targets_B, images_BCHW)
    images_BCHW = single_precision(images_BCHW)
    return Score(
        title="top-1",
        measure=lambda change: top1(model, images_BCHW, targets_B, change, batch_size=batch_size),
        images=len(images_BCHW),
        mean=images_BCHW.mean(dim=(0, 2, 3)),
        std=std,
        offset=offset,
    )
