"""The training step of a detector."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from spanetv2.tasks.detection.build import build_detector
from spanetv2.tasks.detection.config import RunConfig
from spanetv2.tasks.detection.data.batch import DetectionBatch
from spanetv2.tasks.detection.evaluate import figures, measure_batch
from spanetv2.tasks.detection.metrics import DetectionMeter
from spanetv2.tasks.detection.model import Detector
from spanetv2.tasks.detection.run_data import DetectionData
from spanetv2.tasks.detection.weights import detector_record
from spanetv2.training.depth_decay import by_layers
from spanetv2.training.module import TaskModule

__all__ = ["Detection", "make_module"]


class Detection(TaskModule):
    """A detector with what training it needs.

    Args:
        net: the detector.
        config: of the run.
        identity: what its weights file tells about it.
        lr_scale: factor of the learning rate by parameter name.
    """

    config: RunConfig

    def __init__(
        self,
        net: Detector,
        *,
        config: RunConfig,
        identity: dict[str, Any],
        lr_scale: Callable[[str], float] | None = None,
    ):
        super().__init__(net, config=config, identity=identity, lr_scale=lr_scale)
        self.num_classes = net.num_classes
        self.meter: DetectionMeter | None = None

    def describe(self) -> str:
        system = self.config.detector.system_name
        return f"{system} on {super().describe()}, {self.num_classes} classes"

    def training_step(self, batch: DetectionBatch, batch_idx: int) -> Tensor:
        losses: dict[str, Tensor] = self.net(batch.images, batch.targets)
        return torch.stack([loss.float() for loss in losses.values()]).sum()

    def begin_validation(self) -> None:
        self.meter = DetectionMeter(self.num_classes, masks=bool(self.config.detector.masks))

    def validation_step(self, batch: DetectionBatch, batch_idx: int) -> None:
        assert self.meter is not None
        net = self.evaluated_net
        assert isinstance(net, Detector)
        measure_batch(net, self.meter, batch.images, batch.targets, device=self.device)

    def validated(self) -> dict[str, float]:
        assert self.meter is not None
        if self.trainer.world_size > 1:
            self.meter.gather()
        result = self.meter.compute()
        self.meter = None
        return figures(result)


def make_module(config: RunConfig, data: DetectionData) -> Detection:
    """Build the detector of a run, with the weights to start from, and its training step.

    Raises:
        UserError: no such model, or weights that do not fit.
    """
    # What the data decided: whether there are masks.
    config = dataclasses.replace(config, detector=data.detector)
    net = build_detector(config, len(data.classes))
    identity = detector_record(net, classes=data.classes, category_ids=data.train.category_ids)
    decay = config.optimizer.layer_decay
    scale = None if decay is None else by_layers(net.pyramid.backbone.name).lr_scale(decay)
    return Detection(net, config=config, identity=identity, lr_scale=scale)
