"""A segmentation model as it is exported: without its auxiliary head, for images or windows.

Shape suffixes: C channels, H and W rows and columns.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from spanetv2.data.images import read_image
from spanetv2.deploy.answers import answering
from spanetv2.deploy.subject import ExportSubject
from spanetv2.errors import UserError
from spanetv2.models.weights.images import made_for
from spanetv2.models.weights.read import Checkpoint
from spanetv2.tasks.segmentation.data.transforms import EvalTransform, Preprocessing
from spanetv2.tasks.segmentation.inference import Inference, normalised
from spanetv2.tasks.segmentation.measure import (
    recorded_inference,
    recorded_palette,
    recorded_preprocessing,
)
from spanetv2.tasks.segmentation.model import SegmentationModel
from spanetv2.tasks.segmentation.weights import load_segmenter

__all__ = ["export_subject"]


def export_subject(
    checkpoint: Checkpoint,
    img_size: tuple[int, int] | None = None,
    *,
    output: str | None = None,
) -> ExportSubject:
    """A segmentation model to export.

    Args:
        checkpoint: its weights.
        img_size: height and width of images in pixels; None is the window that slides over images,
            or a square image as ``predict`` shows it, or what the backbone was made for.
        output: see ``answering``.

    Raises:
        UserError: damaged weights, an unknown output, or no size to be known.
    """
    preprocessing, inference = recorded_preprocessing(checkpoint), recorded_inference(checkpoint)
    palette = recorded_palette(checkpoint)
    model, checkpoint = load_segmenter(checkpoint)
    size = img_size or _usual_size(model, preprocessing, inference)
    if size is None:
        raise UserError(
            f"{checkpoint.path}: made for images of any size, expected --img-size to export one; "
            "files of any size need it, too, for an example"
        )
    head = model.options.name
    model.auxiliary = None  # for training
    answers, outputs = answering(
        model, output, sides=("height", "width"), labels=torch.uint8, named_on="pixels"
    )
    return ExportSubject(
        model=answers,
        img_size=size,
        in_chans=preprocessing.channels,
        name=f"{checkpoint.model_name}_{head}",
        description={
            "task": "segmentation",
            "model": checkpoint.model_name,
            "head": head,
            "classes": checkpoint.classes,
            "palette": [list(colour) for colour in palette],
            "preprocessing": preprocessing.to_dict(),
            "inference": inference.to_dict(),
            # what makes probabilities of logits
            "activation": "softmax",
        },
        outputs=outputs,
        read=_Reader(preprocessing, size),
    )


def _usual_size(
    model: SegmentationModel, preprocessing: Preprocessing, inference: Inference
) -> tuple[int, int] | None:
    if inference.window is not None:
        return inference.window, inference.window
    if preprocessing.size is not None:
        side = min(preprocessing.size)
        return side, side
    inside = (made_for(module) for module in model.backbone.modules())
    return next((size for size in inside if size is not None), None)


@dataclass(frozen=True)
class _Reader:
    """From a path to the middle of the image as the model sees it, (C, H, W); small ones grow."""

    preprocessing: Preprocessing
    size: tuple[int, int]

    def __call__(self, path: str) -> Tensor:
        image = read_image(path, white=self.preprocessing.white)
        (pixels_CHW,) = EvalTransform(self.preprocessing).views(image)
        x_CHW = normalised(pixels_CHW[None], self.preprocessing)[0]
        (height, width), (rows, columns) = self.size, x_CHW.shape[1:]
        if (factor := max(height / rows, width / columns)) > 1:
            grown = (max(height, math.ceil(rows * factor)), max(width, math.ceil(columns * factor)))
            x_CHW = F.interpolate(x_CHW[None], grown, mode="bilinear", align_corners=False)[0]
        top, left = (x_CHW.shape[1] - height) // 2, (x_CHW.shape[2] - width) // 2
        return x_CHW[:, top : top + height, left : left + width].contiguous()
