"""Detectors as the benchmark measures them.

How long a detector takes depends on what it finds, and noise shows nothing. So every box of the
proposals is taken for an object of the first class: as many boxes as training would leave go
through the suppression, and as many as an image may have get a mask.

Shape suffixes: B batch, C channels, H and W rows and columns.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn

from spanetv2.benchmark.networks import size_options
from spanetv2.benchmark.subject import NotMeasuredError, Subject
from spanetv2.deploy.subject import ExportSubject, Outputs, random_images
from spanetv2.errors import UserError
from spanetv2.models import SPANetV2
from spanetv2.models.factory import resolve_name
from spanetv2.models.other_libraries import TORCHVISION
from spanetv2.models.weights.read import Checkpoint
from spanetv2.precision import compute_in
from spanetv2.tasks.detection.export import on_canvas
from spanetv2.tasks.detection.graph import DetectorGraph
from spanetv2.tasks.detection.model import Detector, create_detector
from spanetv2.tasks.detection.options import DetectorOptions
from spanetv2.tasks.detection.weights import load_detector

__all__ = ["SHAPE", "detector_subject", "full_name"]

SHAPE = (2, 800)
"""Images and their side, as COCO's recipes have it."""
_CLASSES = 80
_OBJECTS = 8
_CERTAIN = 4.0
"""Logit of the first class where all others have 0: 0.40 of 80 classes and the background, which
leaves 0.007 to each of them."""
_SYSTEMS = {
    "mask_rcnn": ("mask_rcnn", True),
    "cascade_mask_rcnn": ("cascade_mask_rcnn", True),
    "faster_rcnn": ("mask_rcnn", False),
    "cascade_rcnn": ("cascade_mask_rcnn", False),
}


def full_name(name: str) -> str | None:
    """The full name of a network, SYSTEM:BACKBONE or torchvision:NAME.

    Returns:
        None where the name is none of a detector.

    Raises:
        UserError: no such backbone, or a detector of torchvision that is measured here no way.

    Example:
        >>> full_name("mask_rcnn:s18_pure"), full_name("s18_pure")
        ('mask_rcnn:spanetv2_s18_pure', None)
    """
    system, _, backbone = name.partition(":")
    if system in _SYSTEMS:
        return f"{system}:{resolve_name(backbone)}"
    if not name.startswith(TORCHVISION) or backbone not in _torchvision_names():
        return None
    if not backbone.startswith(("fasterrcnn", "maskrcnn")):
        raise UserError(f"got {name}, expected one of torchvision's fasterrcnn and maskrcnn")
    return name


def detector_subject(source: str | Checkpoint, size: int) -> Subject:
    """A detector, which sees images in the size that they have.

    Args:
        source: a full name, of a network with random weights for COCO's 80 classes; or a
            checkpoint.
        size: height and width in pixels.

    Raises:
        UserError: no such model, or a damaged checkpoint.
    """
    torch.manual_seed(0)
    test: dict[str, Any] = {"min_size": size, "max_size": size}
    if isinstance(source, Checkpoint):
        model = load_detector(source, **test)[0]
        network = getattr(model.pyramid.backbone.network, "model", None)
        if isinstance(network, SPANetV2):
            network.set_input_size(size)
    elif source.startswith(TORCHVISION):
        return _peer(source.removeprefix(TORCHVISION), test)
    else:
        system, _, backbone = source.partition(":")
        kind, masks = _SYSTEMS[system]
        options = DetectorOptions(system=kind, masks=masks, **test)  # pyright: ignore[reportArgumentType]
        model = create_detector(backbone, _CLASSES, options, **size_options(backbone, size))
    return _subject(
        model,
        model.num_classes,
        [model.pyramid, model.rpn.head],
        model.layers(),
        export=partial(_exported, model),
    )


def _peer(name: str, test: dict[str, Any]) -> Subject:
    """A detector of torchvision."""
    from torchvision.models import get_model

    model: Any = get_model(
        name, weights=None, weights_backbone=None, num_classes=_CLASSES + 1, **test
    )
    heads = ("box_head", "box_predictor", "mask_head", "mask_predictor")
    found = [getattr(model.roi_heads, head, None) for head in heads]
    layers = [model.backbone, model.rpn.head, *(part for part in found if part is not None)]
    return _subject(model, _CLASSES, layers[:2], layers)


def _subject(
    model: nn.Module,
    classes: int,
    parts: list[nn.Module],
    layers: list[nn.Module],
    export: Callable[[int], ExportSubject] | None = None,
) -> Subject:
    _find_everywhere(model)

    def cast(dtype: torch.dtype) -> None:
        for layer in layers:
            compute_in(layer, dtype)

    return Subject(
        model=model,
        targets=partial(_objects, classes),
        loss=_loss,
        parts=parts,
        cast=cast,
        export=export,
    )


def _exported(model: Detector, size: int) -> ExportSubject:
    """As ``spanetv2 export`` writes it: for one image, normalised, on a canvas of its size.

    Which of its objects, all of one score, the suppression leaves is chance, so the file is held
    against the network by how many it finds.

    Raises:
        NotMeasuredError: a size that is none of a canvas.
    """
    step = model.transform.size_divisible
    if size % step:
        raise NotMeasuredError(f"is exported for images whose sides are multiples of {step}")
    axes = dict.fromkeys(("boxes", "scores", "labels"), ("detections",))
    return ExportSubject(
        model=DetectorGraph(model, (size, size)).eval(),
        img_size=(size, size),
        in_chans=3,
        outputs=Outputs(
            axes=axes | ({"masks": ("detections",)} if model.options.masks else {}),
            difference=lambda got, expected: abs(len(got[0]) - len(expected[0])),
            told="{:.0f} detections more or less than the network's",
            most=0,
            classes=None,
        ),
        examples=lambda shape: on_canvas(random_images(shape)[0], (size, size), model.options)[0],
        more={"size": torch.tensor([size, size])},
    )


def _find_everywhere(model: nn.Module) -> None:
    """Let every box head see the first class in every box."""
    for name, layer in model.named_modules():
        if name.endswith("cls_score") and isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
            layer.bias.data[1] = _CERTAIN


def _loss(call: Callable[..., Any], images_BCHW: Tensor, targets: Any) -> Tensor:
    losses: dict[str, Tensor] = call(images_BCHW, targets)
    return torch.stack([loss.float() for loss in losses.values()]).sum()


def _objects(classes: int, images_BCHW: Tensor, generator: Generator) -> list[dict[str, Tensor]]:
    """Rectangles in every image, a tenth to four tenths of its sides."""
    batch, _, height, width = images_BCHW.shape
    limits = torch.tensor([width, height])
    targets = []
    for _ in range(batch):
        corners = torch.rand(_OBJECTS, 2, generator=generator) * limits * 0.6
        sides = (0.1 + 0.3 * torch.rand(_OBJECTS, 2, generator=generator)) * limits
        boxes = torch.cat([corners, corners + sides], 1)
        masks = torch.zeros(_OBJECTS, height, width, dtype=torch.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
            mask[y1:y2, x1:x2] = 1
        labels = torch.randint(1, classes + 1, (_OBJECTS,), generator=generator)
        targets.append({"boxes": boxes, "labels": labels, "masks": masks})
    return targets


def _torchvision_names() -> list[str]:
    from torchvision.models import detection, list_models

    return list_models(module=detection)
