"""Semantic segmentation, as the run sees it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spanetv2.errors import UserError
from spanetv2.models.weights.save import save_state_dict
from spanetv2.tasks.segmentation.build import build_segmenter, stage_scale
from spanetv2.tasks.segmentation.config import RunConfig
from spanetv2.tasks.segmentation.evaluate import evaluate
from spanetv2.tasks.segmentation.guide import GUIDE
from spanetv2.tasks.segmentation.learning import Segmentation
from spanetv2.tasks.segmentation.run_data import SegmentationData
from spanetv2.tasks.segmentation.weights import segmenter_record
from spanetv2.tasks.task import Task
from spanetv2.training.batching import BatchPlan
from spanetv2.training.data import TrainingData
from spanetv2.training.module import TaskModule

__all__ = ["TASK", "SegmentationTask"]


class SegmentationTask(Task):
    """Semantic segmentation."""

    name = "segmentation"
    config = RunConfig
    figures = ("miou", "pixel_accuracy", "mean_accuracy")
    headline = "mIoU"
    guide = GUIDE

    def open_data(
        self, config: RunConfig, *, plan: BatchPlan, pin_memory: bool, limit: int | float
    ) -> SegmentationData:
        if config.head.name == "upernet" and plan.per_device == 1:
            raise UserError(
                "got one image per device, expected two or more: UPerNet pools images to single "
                "values, of which batch norm cannot take statistics; raise data.batch_size, or "
                "use --head.name semantic_fpn"
            )
        return SegmentationData(config, plan=plan, pin_memory=pin_memory, limit=limit)

    def make_module(self, config: RunConfig, data: TrainingData) -> Segmentation:
        assert isinstance(data, SegmentationData)
        net = build_segmenter(config, len(data.classes))
        identity = segmenter_record(
            net,
            classes=data.classes,
            palette=data.train.palette,
            preprocessing=config.preprocessing.to_dict(),
            inference=config.inference.to_dict(),
            extra={"dataset": config.data.dataset},
        )
        decay = config.optimizer.layer_decay
        scale = None if decay is None else stage_scale(identity["model_name"], decay)
        weights = _class_weights(config.class_weights, data.classes)
        return Segmentation(
            net, config=config, identity=identity, lr_scale=scale, class_weights=weights
        )

    def image_size(self, config: RunConfig) -> str:
        return "x".join(map(str, config.augmentation.crop_size))

    def measure(
        self, module: TaskModule, data: TrainingData, config: RunConfig, *, device: torch.device
    ) -> dict[str, Any]:
        loader = data.make_val_loader(rank=0, world=1, batch_size=data.val_batch_size)
        result = evaluate(
            module.evaluated_net,
            loader,
            classes=data.classes,
            preprocessing=config.preprocessing,
            inference=config.inference,
            device=device,
        )
        return result.to_json()

    def save(
        self, net: nn.Module, path: Path, *, identity: dict[str, Any], extra: dict[str, Any]
    ) -> None:
        record = {**identity, "extra": {**identity["extra"], **extra}}
        save_state_dict(net.state_dict(), path, record)


def _class_weights(weights: Mapping[str, float], classes: Sequence[str]) -> torch.Tensor | None:
    if not weights:
        return None
    if unknown := sorted(set(weights) - set(classes)):
        raise UserError(
            f"got class_weights of {', '.join(unknown)}, expected names of the data set's classes "
            f"({', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''})"
        )
    return torch.tensor([weights.get(name, 1.0) for name in classes])


TASK = SegmentationTask()
