"""Segmentation models as the benchmark measures them.

Shape suffixes: B batch, C channels, K classes, H and W rows and columns.
"""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from spanetv2.benchmark.networks import size_options
from spanetv2.benchmark.subject import Subject
from spanetv2.deploy.answers import answering
from spanetv2.deploy.subject import ExportSubject
from spanetv2.errors import UserError
from spanetv2.models import SPANetV2
from spanetv2.models.factory import resolve_name
from spanetv2.models.other_libraries import TORCHVISION
from spanetv2.models.weights.read import Checkpoint
from spanetv2.precision import compute_in
from spanetv2.tasks.segmentation.config import RunConfig
from spanetv2.tasks.segmentation.model import HeadOptions, SegmentationModel, create_segmenter
from spanetv2.tasks.segmentation.weights import load_segmenter
from spanetv2.text import one_line

__all__ = ["SHAPE", "full_name", "segmenter_subject"]

SHAPE = (2, 512)
"""Images and their side as ADE20K's recipes have it; UPerNet learns from two or more."""
_CLASSES = 150
_HEADS = ("semantic_fpn", "upernet")
_SMP = "smp:"


def full_name(name: str) -> str | None:
    """The full name of a network, HEAD:BACKBONE, torchvision:NAME or smp:ARCHITECTURE:ENCODER.

    Returns:
        None where the name is none of a segmentation model.

    Raises:
        UserError: no such backbone.

    Example:
        >>> full_name("upernet:s18_pure"), full_name("s18_pure")
        ('upernet:spanetv2_s18_pure', None)
    """
    head, _, backbone = name.partition(":")
    if head in _HEADS:
        return f"{head}:{resolve_name(backbone)}"
    ours = name.startswith(_SMP) or (
        name.startswith(TORCHVISION) and backbone in _torchvision_names()
    )
    return name if ours else None


def segmenter_subject(source: str | Checkpoint, size: int) -> Subject:
    """A segmentation model, its filters made for images of the size.

    Args:
        source: a full name, of a network with random weights for ADE20K's 150 classes; or a
            checkpoint.
        size: height and width in pixels.

    Raises:
        UserError: no such model, a package that is missing, or a damaged checkpoint.
    """
    torch.manual_seed(0)
    if isinstance(source, Checkpoint):
        model = load_segmenter(source)[0]
        network = getattr(model.backbone.network, "model", None)
        if isinstance(network, SPANetV2):
            network.set_input_size(size)
    elif source.startswith((_SMP, TORCHVISION)):
        return _peer(source)
    else:
        head, _, backbone = source.partition(":")
        options = HeadOptions(name=head)  # pyright: ignore[reportArgumentType] - one of _HEADS
        model = create_segmenter(backbone, _CLASSES, options, **size_options(backbone, size))
    return Subject(
        model=model,
        targets=partial(_labels, model.num_classes),
        loss=_loss,
        channels=model.backbone.in_chans,
        learner=model.forward_train,
        cast=partial(compute_in, model),
        export=partial(_exported, model, model.backbone.in_chans),
    )


def _exported(model: Any, channels: int, size: int) -> ExportSubject:
    """Without the auxiliary head, as ``spanetv2 export`` writes it."""
    if isinstance(model, SegmentationModel):
        model = copy.deepcopy(model)
        model.auxiliary = None
    answers, outputs = answering(model, None, sides=("height", "width"), named_on="pixels")
    return ExportSubject(model=answers, img_size=(size, size), in_chans=channels, outputs=outputs)


def _labels(classes: int, images_BCHW: Tensor, generator: Generator) -> Tensor:
    batch, _, height, width = images_BCHW.shape
    return torch.randint(0, classes, (batch, height, width), generator=generator)


def _loss(call: Callable[..., Any], images_BCHW: Tensor, labels_BHW: Tensor) -> Tensor:
    """Of the head and, where there is one, of the auxiliary head, weighted as in training."""
    scores, auxiliary = call(images_BCHW)
    loss = F.cross_entropy(scores.float(), labels_BHW)
    if auxiliary is None:
        return loss
    return loss + RunConfig.auxiliary_weight * F.cross_entropy(auxiliary.float(), labels_BHW)


def _torchvision_names() -> list[str]:
    from torchvision.models import list_models, segmentation

    return list_models(module=segmentation)


def _peer(source: str) -> Subject:
    """A network of another library, without auxiliary heads."""

    def loss(call: Callable[..., Any], images_BCHW: Tensor, labels_BHW: Tensor) -> Tensor:
        scores = call(images_BCHW)
        scores = scores["out"] if isinstance(scores, dict) else scores
        return F.cross_entropy(scores.float(), labels_BHW)

    model: Any
    if source.startswith(TORCHVISION):
        from torchvision.models import get_model

        name = source.removeprefix(TORCHVISION)
        model = get_model(name, weights=None, weights_backbone=None, num_classes=_CLASSES)
    else:
        model = _smp(source)
    return Subject(
        model=model,
        targets=partial(_labels, _CLASSES),
        loss=loss,
        cast=partial(compute_in, model),
        # torchvision's give a dict of maps
        export=None if source.startswith(TORCHVISION) else partial(_exported, model, 3),
    )


def _smp(source: str) -> Any:
    """A network of segmentation_models_pytorch.

    Raises:
        UserError: it is not installed, or has no such network.
    """
    try:
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise UserError(
            f"got {source}, which needs segmentation_models_pytorch; pip install "
            "segmentation_models_pytorch"
        ) from error
    architecture, _, encoder = source.removeprefix(_SMP).partition(":")
    try:
        return smp.create_model(architecture, encoder, encoder_weights=None, classes=_CLASSES)
    except (KeyError, ValueError, TypeError, RuntimeError) as error:
        reason = one_line(error).strip("'\"")
        raise UserError(
            f"got {source}, expected {_SMP}ARCHITECTURE:ENCODER, such as smp:fpn:resnet50 or "
            f"smp:upernet:tu-convformer_s18 ({reason[:200]})"
        ) from error
