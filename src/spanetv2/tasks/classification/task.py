"""Image classification, as the run sees it."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from spanetv2.errors import UserError
from spanetv2.models.weights.save import model_record, save_weights
from spanetv2.tasks.classification.build import build_model
from spanetv2.tasks.classification.config import RunConfig
from spanetv2.tasks.classification.evaluate import evaluate
from spanetv2.tasks.classification.guide import GUIDE
from spanetv2.tasks.classification.learning import ImageClassification
from spanetv2.tasks.classification.run_data import ClassificationData
from spanetv2.tasks.task import Task
from spanetv2.training.batching import BatchPlan
from spanetv2.training.data import TrainingData
from spanetv2.training.freezing import freeze
from spanetv2.training.module import TaskModule

__all__ = ["TASK", "ClassificationTask"]


class ClassificationTask(Task):
    """Image classification."""

    name = "classification"
    config = RunConfig
    figures = ("top1", "top5", "loss")
    headline = "top-1"
    guide = GUIDE

    def even_batches(self, config: RunConfig) -> bool:
        return bool(config.mixing.mixup or config.mixing.cutmix)  # they pair images

    def open_data(
        self, config: RunConfig, *, plan: BatchPlan, pin_memory: bool, limit: int | float
    ) -> ClassificationData:
        if config.schedule.updates is not None:
            raise UserError(
                f"schedule.updates is {config.schedule.updates}, expected null: a classification "
                "run is counted in epochs, trainer.max_epochs"
            )
        return ClassificationData(config, plan=plan, pin_memory=pin_memory, limit=limit)

    def make_module(self, config: RunConfig, data: TrainingData) -> ImageClassification:
        classes = data.classes
        net = build_model(
            config.model,
            num_classes=len(classes),
            input_size=config.preprocessing.input_size,
            weights=config.weights,
        )
        outputs = int(net.num_classes)  # pyright: ignore[reportArgumentType]
        if outputs < len(classes):
            raise UserError(
                f"model.num_classes={outputs}, but the data set has {len(classes)} classes"
            )
        frozen = freeze(net, config.freeze)
        if config.model.channels_last:
            net.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        identity = {
            **model_record(net),
            "classes": classes if outputs == len(classes) else None,
            "preprocessing": config.preprocessing.to_dict(),
        }
        module = ImageClassification(
            net, config=config, num_classes=outputs, identity=identity, frozen=frozen
        )
        if config.model.compile:
            net.compile()
        return module

    def image_size(self, config: RunConfig) -> str:
        return "x".join(map(str, config.preprocessing.input_size[1:]))

    def measure(
        self, module: TaskModule, data: TrainingData, config: RunConfig, *, device: torch.device
    ) -> dict[str, Any]:
        assert isinstance(module, ImageClassification)
        loader = data.make_val_loader(rank=0, world=1, batch_size=data.val_batch_size)
        # model.num_classes may ask for more outputs than the data has classes
        spare = range(len(data.classes), module.num_classes)
        names = [*data.classes, *(f"output {i}" for i in spare)]
        return evaluate(module.evaluated_net, loader, classes=names, device=device).to_json()

    def save(
        self, net: nn.Module, path: Path, *, identity: dict[str, Any], extra: dict[str, Any]
    ) -> None:
        save_weights(
            net,
            path,
            classes=identity["classes"],
            preprocessing=identity["preprocessing"],
            extra=extra,
        )


TASK = ClassificationTask()
