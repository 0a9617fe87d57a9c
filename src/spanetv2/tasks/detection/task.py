"""Detection, as the run sees it."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from spanetv2.errors import UserError
from spanetv2.tasks.detection.build import build_detector
from spanetv2.tasks.detection.config import RunConfig
from spanetv2.tasks.detection.depth import layer_scale
from spanetv2.tasks.detection.evaluate import evaluate
from spanetv2.tasks.detection.guide import GUIDE
from spanetv2.tasks.detection.learning import Detection
from spanetv2.tasks.detection.model import Detector
from spanetv2.tasks.detection.run_data import DetectionData
from spanetv2.tasks.detection.weights import detector_record, save_detector
from spanetv2.tasks.task import Task
from spanetv2.training.batching import BatchPlan
from spanetv2.training.data import TrainingData
from spanetv2.training.module import TaskModule

__all__ = ["TASK", "DetectionTask"]


class DetectionTask(Task):
    """Object detection and instance segmentation."""

    name = "detection"
    config = RunConfig
    figures = ("box_ap", "box_ap50", "mask_ap", "mask_ap50")
    headline = "box AP"
    guide = GUIDE

    def open_data(
        self, config: RunConfig, *, plan: BatchPlan, pin_memory: bool, limit: int | float
    ) -> DetectionData:
        if config.schedule.updates is not None:
            raise UserError(
                f"schedule.updates is {config.schedule.updates}, expected null: a detection run "
                "is counted in epochs, trainer.max_epochs"
            )
        return DetectionData(config, plan=plan, pin_memory=pin_memory, limit=limit)

    def make_module(self, config: RunConfig, data: TrainingData) -> Detection:
        assert isinstance(data, DetectionData)
        net = build_detector(config, len(data.classes))
        identity = detector_record(net, data.classes, category_ids=data.train.category_ids)
        decay = config.optimizer.layer_decay
        scale = None if decay is None else layer_scale(identity["model_name"], decay)
        return Detection(net, config=config, identity=identity, lr_scale=scale)

    def image_size(self, config: RunConfig) -> str:
        return f"{max(config.augmentation.short_sides)}x{config.augmentation.long_side}"

    def measure(
        self, module: TaskModule, data: TrainingData, config: RunConfig, *, device: torch.device
    ) -> dict[str, Any]:
        net = module.evaluated_net
        assert isinstance(net, Detector)
        loader = data.make_val_loader(rank=0, world=1, batch_size=data.val_batch_size)
        return evaluate(net, loader, classes=data.classes, device=device).to_json()

    def save(
        self, net: nn.Module, path: Path, *, identity: dict[str, Any], extra: dict[str, Any]
    ) -> None:
        assert isinstance(net, Detector)
        save_detector(
            net,
            path,
            classes=identity["classes"],
            category_ids=identity["extra"]["category_ids"],
            extra=extra,
        )


TASK = DetectionTask()
