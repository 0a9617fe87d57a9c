"""A network that is measured, and how a pass of it goes: the same for every task.

Shape suffixes: B batch, C channels, H and W sides in pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from spanetv2.deploy.subject import ExportSubject
from spanetv2.errors import UserError

__all__ = ["FindSubject", "NotMeasuredError", "Subject", "classifier"]


class NotMeasuredError(UserError):
    """A network cannot be run in a way that was asked for; others may."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """A network to be measured; nothing in it depends on how.

    Args:
        model: in float32, on the CPU.
        targets: makes what it learns from, for images (B, C, H, W): tensors, in lists and dicts.
        loss: of a training pass: from what is to be called, images and targets, to a number.
        channels: of its images.
        learner: what ``loss`` calls; None is the model.
        parts: what is compiled, where the network as a whole cannot be; none is all of it.
        cast: makes the model compute in a lower precision, with images in float32; None casts the
            model and its images.
        export: from the side of its images, in pixels, to what is exported; None where no file
            can be made of the whole network. It may raise ``NotMeasuredError``.
        whole: it is a classifier, of which ``optimize_for_inference`` can make a copy.
    """

    model: nn.Module
    targets: Callable[[Tensor, Generator], Any]
    loss: Callable[[Callable[..., Any], Tensor, Any], Tensor]
    channels: int = 3
    learner: Callable[..., Any] | None = None
    parts: Sequence[nn.Module] = ()
    cast: Callable[[torch.dtype], None] | None = None
    export: Callable[[int], ExportSubject] | None = None
    whole: bool = False


FindSubject = Callable[[str, int], Subject]
"""From the name of a network and the side of its images, in pixels."""


def classifier(model: nn.Module, classes: int, channels: int = 3) -> Subject:
    """A classifier, which learns by cross-entropy.

    Args:
        model: images to logits.
        classes: how many.
        channels: of its images.
    """

    def targets(images_BCHW: Tensor, generator: Generator) -> Tensor:
        return torch.randint(0, classes, (len(images_BCHW),), generator=generator)

    def loss(call: Callable[..., Any], images_BCHW: Tensor, labels_B: Tensor) -> Tensor:
        return F.cross_entropy(call(images_BCHW), labels_B)

    def export(size: int) -> ExportSubject:
        return ExportSubject(model=model, img_size=(size, size), in_chans=channels)

    return Subject(
        model=model, targets=targets, loss=loss, channels=channels, export=export, whole=True
    )
