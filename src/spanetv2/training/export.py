"""The end of a run: weights that stand alone, and what they reach."""

import sys
from pathlib import Path
from typing import Any

import torch

from spanetv2.files import write_json
from spanetv2.training.checkpoints import BEST, RunCheckpoints
from spanetv2.training.config import BaseRunConfig
from spanetv2.training.data import TrainingData
from spanetv2.training.logs import TrainingLog
from spanetv2.training.module import TaskModule
from spanetv2.training.task import TrainingTask

__all__ = ["export_weights"]


def export_weights(
    task: TrainingTask,
    module: TaskModule,
    data: TrainingData,
    config: BaseRunConfig,
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
    if config.checkpoints.export == "best" and not from_best:
        print(
            f"checkpoints.export is best, but no validation gave a {saver.monitor} to choose by: "
            "the weights are those of the last epoch",
            file=sys.stderr,
            flush=True,
        )
    if from_best:
        state = torch.load(best, map_location="cpu", weights_only=True)["state_dict"]
        prefix = "net." if module.ema is None else "ema.module."
        net.load_state_dict(
            {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        )
    device = module.trainer.strategy.root_device
    net = net.to(device).float().eval()
    epochs = module.trainer.current_epoch
    in_updates = config.schedule.updates is not None
    unit = "update" if in_updates else "epoch"
    length = {} if in_updates else {"epochs": epochs}
    best_at = None if saver.best_epoch is None else saver.best_epoch + 1
    if in_updates and best_at is not None:
        best_at *= config.schedule.validation_interval
    training = {
        **length,
        "updates": module.trainer.global_step,
        "seconds": round(log.seconds, 2),
        "images_per_second": round(log.images / log.seconds, 1) if log.seconds else None,
        f"best_{saver.monitor}": saver.best_value,
        f"best_{unit}": best_at,
        "weights_of": f"the {'best' if from_best else 'last'} {unit}",
        "averaged": module.ema is not None,
        "updates_without_finite_gradients": saver.watch.gradients.bad,
    }
    result: dict[str, Any] = {}
    if data.has_validation:
        result = task.measure(module, data, config, device=device)
    metrics = {**result, "training": training}
    task.save(
        net,
        folder / "weights.safetensors",
        identity=module.identity,
        extra={
            **length,
            "updates": module.trainer.global_step,
            **{key: result[key] for key in data.figures or task.figures if key in result},
        },
    )
    write_json(folder / "metrics.json", metrics)
    return metrics
