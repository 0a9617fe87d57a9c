"""The end of a run: weights that stand alone, and what they reach."""

from pathlib import Path
from typing import Any

import torch

from spanetv2.files import write_json
from spanetv2.models.weights.save import save_weights
from spanetv2.tasks.classification.data.loader import eval_loader
from spanetv2.tasks.classification.evaluate import evaluate
from spanetv2.training.checkpoints import BEST, RunCheckpoints
from spanetv2.training.classification import ImageClassification
from spanetv2.training.config import RunConfig
from spanetv2.training.data import TrainingData
from spanetv2.training.logs import TrainingLog

__all__ = ["export_weights"]


def export_weights(
    module: ImageClassification,
    data: TrainingData,
    config: RunConfig,
    *,
    folder: Path,
    log: TrainingLog,
    saver: RunCheckpoints,
) -> dict[str, Any]:
    """Write ``weights.safetensors`` and ``metrics.json``, and return the metrics.

    The metrics are those of the written weights on the whole validation split, measured by the
    same code as ``spanetv2 evaluate``, in float32.
    """
    net = module.evaluated_net
    best = saver.folder / BEST
    from_best = config.checkpoints.export == "best" and best.is_file()
    if from_best:
        state = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
        prefix = "net." if module.ema is None else "ema.module."
        net.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
    device = module.trainer.strategy.root_device
    net = net.to(device).float().eval()
    epochs = module.trainer.current_epoch
    training = {
        "epochs": epochs,
        "updates": module.trainer.global_step,
        "seconds": round(log.seconds, 2),
        "images_per_second": round(log.images / log.seconds, 1) if log.seconds else None,
        f"best_{config.checkpoints.monitor}": saver.best_value,
        "best_epoch": None if saver.best_epoch is None else saver.best_epoch + 1,
        "weights_of": "the best epoch" if from_best else "the last epoch",
        "averaged": module.ema is not None,
    }
    result: dict[str, Any] = {}
    if data.val is not None:
        loader = eval_loader(
            data.val,
            batch_size=config.data.val_batch_size or data.plan.per_device,
            workers=config.data.workers,
            pin_memory=data.pin_memory,
        )
        # model.num_classes may ask for more outputs than the data has classes
        spare = range(len(data.train.classes), module.num_classes)
        names = [*data.train.classes, *(f"output {i}" for i in spare)]
        evaluation = evaluate(net, loader, classes=names, device=device)
        result = evaluation.to_json()
    metrics = {**result, "training": training}
    save_weights(
        net,
        folder / "weights.safetensors",
        classes=module.identity["classes"],
        preprocessing=module.identity["preprocessing"],
        extra={
            "epochs": epochs,
            "updates": module.trainer.global_step,
            **{key: result[key] for key in ("top1", "top5", "loss") if key in result},
        },
    )
    write_json(folder / "metrics.json", metrics)
    return metrics
