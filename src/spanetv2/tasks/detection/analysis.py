"""Detectors for an analysis of how networks treat frequencies: their backbone, and box AP.

Shape suffixes: B images, C channels, H and W in pixels.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from spanetv2.analysis.model_study import ModelInput
from spanetv2.analysis.network import measuring
from spanetv2.analysis.score import Change, Score
from spanetv2.analysis.subset import DataSubset, as_batch, mean_of_pixels
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.detection.data.reading import reading_of
from spanetv2.tasks.detection.evaluate import evaluate
from spanetv2.tasks.detection.measure import open_coco
from spanetv2.tasks.detection.model import Detector
from spanetv2.tasks.detection.weights import load_detector

__all__ = ["analysis_input"]


def analysis_input(
    checkpoint: Checkpoint, title: str, data: DataSubset, *, device: torch.device
) -> ModelInput:
    """Load a detector, and images with boxes as it is evaluated on them.

    Its backbone is looked into at images of one size. Average precision is COCO's of boxes, each
    image changed at the size at which the network is shown it.

    Raises:
        UserError: no such data, or classes that the detector does not know.
    """
    detector, checkpoint = load_detector(checkpoint, device=device)
    classes = checkpoint.classes or []
    reading = reading_of({}, masks=False, white=detector.options.white)
    source = open_coco(data.folder, data.split, classes=classes, reading=reading)
    samples = list(data.samples(source.__getitem__, len(source)))
    with measuring(detector), torch.no_grad():
        images = [_shown(detector, image) for image, _ in samples]

    def measure(change: Change | None) -> float:
        with measuring(detector), _changed(detector, change):
            batches = [([image], [target]) for image, target in samples]
            return evaluate(detector, batches, classes=classes, device=device).box.ap or 0.0

    mean, std = list(detector.transform.image_mean), list(detector.transform.image_std)
    return ModelInput(
        title=title,
        model=detector.pyramid.backbone,
        images=as_batch(images),
        mean=mean,
        std=std,
        score=Score(
            title="box AP",
            measure=measure,
            images=len(samples),
            mean=mean_of_pixels(images),
            std=std,
            offset=mean,
        ),
    )


def _shown(detector: Detector, image_CHW: Tensor) -> Tensor:
    """An image normalised and resized as the network is shown it, without padding."""
    transform: Any = detector.transform
    return transform.resize(transform.normalize(image_CHW))[0]


@contextlib.contextmanager
def _changed(detector: Detector, change: Change | None) -> Iterator[None]:
    """Change images after they were normalised and resized, and before they are padded."""
    transform: Any = detector.transform
    if change is None:
        yield
        return

    def resize(image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
        image, target = type(transform).resize(transform, image, target)
        return change(image[None])[0], target

    transform.resize = resize
    try:
        yield
    finally:
        del transform.resize
