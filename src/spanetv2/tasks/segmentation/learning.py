"""The training step of semantic segmentation."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.build import build_segmenter
from spanetv2.tasks.segmentation.config import RunConfig
from spanetv2.tasks.segmentation.data.source import IGNORED
from spanetv2.tasks.segmentation.data.transforms import Views
from spanetv2.tasks.segmentation.evaluate import predict_views
from spanetv2.tasks.segmentation.metrics import SegmentationMeter
from spanetv2.tasks.segmentation.model import SegmentationModel
from spanetv2.tasks.segmentation.run_data import SegmentationData
from spanetv2.tasks.segmentation.weights import segmenter_record
from spanetv2.training.depth_decay import by_stages
from spanetv2.training.module import TaskModule

__all__ = ["Segmentation", "make_module", "pixel_loss"]


class Segmentation(TaskModule):
    """A segmentation model with what training it needs.

    Args:
        net: the model.
        config: of the run.
        identity: what its weights file tells about it.
        lr_scale: factor of the learning rate by parameter name.
        class_weights: of the classes in the loss, (K,); None is 1 for each.
    """

    config: RunConfig
    net: SegmentationModel

    def __init__(
        self,
        net: SegmentationModel,
        *,
        config: RunConfig,
        identity: dict[str, Any],
        lr_scale: Callable[[str], float] | None = None,
        class_weights: Tensor | None = None,
    ):
        super().__init__(net, config=config, identity=identity, lr_scale=lr_scale)
        self.num_classes = net.num_classes
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.meter: SegmentationMeter | None = None

    def describe(self) -> str:
        return f"{self.config.head.name} on {super().describe()}, {self.num_classes} classes"

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images_BCHW, labels_BHW = batch
        scores, auxiliary = self.net.forward_train(images_BCHW)
        divisor = self.divisor(
            labelled(labels_BHW, self.class_weights),
            most=labels_BHW.numel(),
            least=1.0 if self.class_weights is None else self.class_weights.min(),
        )
        loss = pixel_sum(scores, labels_BHW, self.class_weights) / divisor
        if auxiliary is not None:
            extra = pixel_sum(auxiliary, labels_BHW, self.class_weights) / divisor
            loss = loss + self.config.auxiliary_weight * extra
        return loss

    def begin_validation(self) -> None:
        self.meter = SegmentationMeter(self.num_classes, device=self.device)

    def validation_step(self, batch: list[Views], batch_idx: int) -> None:
        assert self.meter is not None
        for views in batch:
            predicted = predict_views(
                self.evaluated_net,
                views,
                self.config.preprocessing,
                self.config.inference,
                self.device,
            )
            self.meter.update(predicted, views.masks)

    def validated(self) -> dict[str, float]:
        assert self.meter is not None
        self.sum_over_processes(self.meter.tensors())
        result = self.meter.compute()
        self.meter = None
        return {
            "miou": result.miou,
            "pixel_accuracy": result.pixel_accuracy,
            "mean_accuracy": result.mean_accuracy,
        }


def labelled(labels_BHW: Tensor, class_weights_K: Tensor | None = None) -> Tensor:
    """Number of labelled pixels; with weights, what they weigh together.

    Args:
        labels_BHW: classes, 255 for pixels that are not labelled.
        class_weights_K: above 0; None is 1 for each class.
    """
    labels = labels_BHW.long()
    if class_weights_K is None:
        return (labels != IGNORED).sum()
    weighed = class_weights_K[labels.clamp(max=len(class_weights_K) - 1)] * (labels != IGNORED)
    return weighed.sum()


def pixel_sum(
    scores_BKHW: Tensor, labels_BHW: Tensor, class_weights_K: Tensor | None = None
) -> Tensor:
    """Cross-entropy in nats, summed over the labelled pixels; 0 where there is none.

    With weights, every pixel counts as much as its class weighs. That alone would teach the
    network the probabilities of a world in which heavy classes are more frequent, and it would
    find them too often. So the loss sees the scores plus the log weights: its minimum is then at
    the probabilities of the world as it is (weight w_y times p(y | x), normalised, is what the
    weighted loss asks for, and what scores of p with log w added give).

    Args:
        scores_BKHW: before the softmax.
        labels_BHW: classes, 255 for pixels that are not labelled.
        class_weights_K: above 0; None is 1 for each class.
    """
    scores, labels = scores_BKHW.float(), labels_BHW.long()
    if class_weights_K is not None:
        scores = scores + class_weights_K.log()[:, None, None]
    return F.cross_entropy(
        scores, labels, weight=class_weights_K, ignore_index=IGNORED, reduction="sum"
    )


def pixel_loss(
    scores_BKHW: Tensor, labels_BHW: Tensor, class_weights_K: Tensor | None = None
) -> Tensor:
    """``pixel_sum`` divided by ``labelled``: the mean over the labelled pixels, 0 without any."""
    least = 1.0 if class_weights_K is None else class_weights_K.min()
    count = labelled(labels_BHW, class_weights_K).clamp(min=least)
    return pixel_sum(scores_BKHW, labels_BHW, class_weights_K) / count


def make_module(config: RunConfig, data: SegmentationData) -> Segmentation:
    """Build the model of a run, with the weights to start from, and its training step.

    Raises:
        UserError: no such model, weights that do not fit, weights of unknown classes, or one class.
    """
    if len(data.classes) < 2:
        raise UserError(
            f"got {len(data.classes)} class ({', '.join(data.classes)}), expected 2 or more: with "
            "one there is nothing to learn; is the background a class?"
        )
    config = dataclasses.replace(config, preprocessing=data.preprocessing)
    net = build_segmenter(config, len(data.classes), classes=data.classes)
    identity = segmenter_record(
        net,
        classes=data.classes,
        palette=data.train.palette,
        preprocessing=config.preprocessing.to_dict(),
        inference=config.inference.to_dict(),
        extra={"dataset": data.dataset, **_reading(config)},
    )
    decay = config.optimizer.layer_decay
    scale = None if decay is None else by_stages(net.backbone.name).lr_scale(decay)
    weights = _class_weights(config.class_weights, data.classes)
    return Segmentation(
        net, config=config, identity=identity, lr_scale=scale, class_weights=weights
    )


def _reading(config: RunConfig) -> dict[str, Any]:
    reading = config.data.reading()
    return {"reading": reading} if reading else {}


def _class_weights(weights: Mapping[str, float], classes: Sequence[str]) -> torch.Tensor | None:
    if not weights:
        return None
    if unknown := sorted(set(weights) - set(classes)):
        raise UserError(
            f"got class_weights of {', '.join(unknown)}, expected names of the data set's classes "
            f"({', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''})"
        )
    return torch.tensor([weights.get(name, 1.0) for name in classes])
