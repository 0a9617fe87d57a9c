"""Segmenters for an analysis of how networks treat frequencies: their backbone, and mIoU.

Shape suffixes: B images, C channels, K classes, H and W in pixels.
"""

import torch
from torch import Tensor, nn

from spanetv2.analysis.model_study import ModelInput
from spanetv2.analysis.network import measuring
from spanetv2.analysis.score import Change, Score
from spanetv2.analysis.subset import DataSubset, as_batch, mean_of_pixels
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.segmentation.data.check import settle_orientation
from spanetv2.tasks.segmentation.data.classes import match_classes
from spanetv2.tasks.segmentation.data.folder import open_dataset
from spanetv2.tasks.segmentation.data.transforms import EvalTransform, Views, collate_views
from spanetv2.tasks.segmentation.evaluate import evaluate
from spanetv2.tasks.segmentation.inference import normalised
from spanetv2.tasks.segmentation.measure import (
    recorded_data,
    recorded_inference,
    recorded_preprocessing,
)
from spanetv2.tasks.segmentation.weights import load_segmenter

__all__ = ["analysis_input"]


class _Changed(nn.Module):
    """A segmenter that sees its normalised images changed."""

    def __init__(self, model: nn.Module, change: Change) -> None:
        super().__init__()
        self.model, self.change = model, change

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.model(self.change(x_BCHW))


def analysis_input(
    checkpoint: Checkpoint, title: str, data: DataSubset, *, device: torch.device
) -> ModelInput:
    """Load a segmenter, and images with label maps as it is evaluated on them.

    Its backbone is looked into at images of one size. mIoU is that of ``spanetv2 evaluate``, each
    image (or window of it) changed as the network is shown it.

    Raises:
        UserError: no such data, or classes that the model does not know.
    """
    inference = recorded_inference(checkpoint, flip=False, scales=[1.0])
    preprocessing = recorded_preprocessing(checkpoint)
    spec = recorded_data(checkpoint, data.folder, data.dataset, data.split)
    source = open_dataset(spec, EvalTransform(preprocessing, inference.scales))
    settle_orientation(source)
    model, checkpoint = load_segmenter(checkpoint, device=device)
    classes = checkpoint.classes or []
    mapping = match_classes(source.classes, classes)
    views: list[Views] = list(data.samples(source.__getitem__, len(source)))
    images = [normalised(view.images[0][None], preprocessing)[0] for view in views]

    def measure(change: Change | None) -> float:
        with measuring(model):
            return evaluate(
                model if change is None else _Changed(model, change),
                [collate_views([view]) for view in views],
                classes=classes,
                preprocessing=preprocessing,
                inference=inference,
                mapping=mapping,
                device=device,
            ).miou

    return ModelInput(
        title=title,
        model=model.backbone,
        images=as_batch(images),
        mean=preprocessing.mean,
        std=preprocessing.std,
        score=Score(
            title="mIoU",
            measure=measure,
            images=len(views),
            mean=mean_of_pixels(images),
            std=preprocessing.std,
            offset=preprocessing.mean,
        ),
    )
