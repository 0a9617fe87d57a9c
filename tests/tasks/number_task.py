"""A task that the package does not know: from an image to a number. Run as a script, it is the
``spanetv2`` command with this task registered.

Data: a folder with ``train/`` and ``val/``, in each PNG images and ``numbers.csv`` (name, number).
"""

import csv
import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from spanetv2.data.images import Failure, read_image
from spanetv2.data.loader import eval_batches, train_batches
from spanetv2.data.paths import Chosen, path_batches
from spanetv2.data.sampler import EpochSampler
from spanetv2.errors import UserError
from spanetv2.models.weights.read import Checkpoint
from spanetv2.models.weights.save import save_state_dict
from spanetv2.tasks import register
from spanetv2.tasks.evaluation import (
    Evaluation,
    EvaluationSettings,
    Measurement,
    run_evaluation,
)
from spanetv2.tasks.prediction import (
    PredictionSettings,
    PredictionWriter,
    Predictor,
)
from spanetv2.tasks.task import Option, Task
from spanetv2.training.config import BaseRunConfig, LoadingConfig
from spanetv2.training.data import TrainingData
from spanetv2.training.module import TaskModule


@dataclass(kw_only=True)
class DataConfig(LoadingConfig):
    """The images.

    Args:
        root: folder of the data.
    """

    root: str | None = None
    total_batch: int = 4
    workers: int = 0


@dataclass(kw_only=True)
class RunConfig(BaseRunConfig):
    """A run.

    Args:
        width: channels of the network.
        data: the images.
    """

    width: int = 4
    data: DataConfig = field(default_factory=DataConfig)


def pixels(path: str | Path) -> Tensor:
    """An image file as grey values (1, H, W) from 0 to 1."""
    image = np.array(read_image(str(path)).convert("L"), dtype=np.float32)
    return torch.from_numpy(image)[None] / 255


class Numbers(Dataset[tuple[Tensor, Tensor]]):
    """Images with a number each."""

    classes: list[str]

    def __init__(self, root: str | None, split: str):
        if root is None or not (Path(root) / split / "numbers.csv").is_file():
            raise UserError(f"got data {root}, expected a folder with {split}/numbers.csv")
        self.folder = Path(root) / split
        with (self.folder / "numbers.csv").open(newline="") as stream:
            self.rows = [(name, float(number)) for name, number in csv.reader(stream)]

    def __len__(self) -> int:
        return len(self.rows)

    def location(self, index: int) -> str:
        return str(self.folder / self.rows[index][0])

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        noise = 0.01 * torch.rand(())  # augmentation, which a resumed run must repeat
        return pixels(self.location(index)) + noise, torch.tensor(self.rows[index][1])


def collate(items: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    images, numbers = zip(*items, strict=True)
    return torch.stack(images), torch.stack(numbers)


class NumberData(TrainingData):
    """Training and validation images."""

    def __init__(self, config: RunConfig, **options: Any):
        super().__init__(config=config.data, seed=config.seed, **options)
        self.train, self.val = (Numbers(config.data.root, split) for split in ("train", "val"))
        self.classes = []
        self.has_validation = True

    def length(self) -> int:
        return len(self.train)

    def describe(self) -> str:
        return f"{len(self.train)} numbers"

    def make_train_loader(self, *, rank: int, world: int) -> DataLoader[Any]:
        sampler = EpochSampler(
            len(self.train),
            batch_size=self.plan.per_device * self.plan.devices,
            seed=self.seed,
            rank=rank,
            world=world,
        )
        return train_batches(
            self.train, sampler=sampler, seed=self.seed, collate=collate, **self.loading
        )

    def make_val_loader(self, *, rank: int, world: int, batch_size: int) -> DataLoader[Any]:
        return eval_batches(
            self.val,
            batch_size=batch_size,
            collate=collate,
            rank=rank,
            world=world,
            **self.loading,
        )


class Net(nn.Module):
    """Grey images to numbers."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3)
        self.out = nn.Linear(width, 1)

    def forward(self, images_B1HW: Tensor) -> Tensor:
        return self.out(self.conv(images_B1HW).relu().mean((2, 3)))[:, 0]


class NumberModule(TaskModule):
    """The training step: squared error."""

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, numbers = batch
        return (self.net(images) - numbers).square().mean()

    def begin_validation(self) -> None:
        self.sums = torch.zeros(2)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, numbers = batch
        self.sums[0] += (self.evaluated_net(images) - numbers).abs().sum().cpu()
        self.sums[1] += len(numbers)

    def validated(self) -> dict[str, float]:
        self.sum_over_processes([self.sums])
        return {"loss": float(self.sums[0] / self.sums[1])}


@dataclasses.dataclass(frozen=True, kw_only=True)
class NumberMeasurement(Measurement):
    """The mean error."""

    error: float

    def to_json(self) -> dict[str, Any]:
        return {"images": self.images, "loss": self.error, "failed": self.failed}

    def text(self) -> str:
        return f"{self.images} images, mean error {self.error:.6f}"


def measure_net(net: nn.Module, loader: Any, **options: Any) -> NumberMeasurement:
    sums = torch.zeros(2)

    def measure(batch: tuple[Tensor, Tensor]) -> int:
        images, numbers = batch
        sums.add_(torch.stack([(net(images) - numbers).abs().sum(), torch.tensor(len(numbers))]))
        return len(images)

    done = run_evaluation(net, loader, measure, **options)
    images, error = int(sums[1]), float(sums[0] / sums[1])
    return NumberMeasurement(**vars(done), images=images, classes=[], error=error)


def load(checkpoint: Checkpoint) -> Net:
    net = Net(**checkpoint.model_kwargs)
    net.load_state_dict(checkpoint.state_dict)
    return net.eval()


class Printer(PredictionWriter):
    """Prints path and number."""

    prints = True

    def __init__(self, digits: int):
        self.digits = digits
        self.files = []

    def lines(self, record: dict[str, Any]) -> list[str]:
        if "error" in record:
            return []
        return [f"{record['path']}\t{record['number']:.{self.digits}f}"]

    def summary(self, images: int, failed: int) -> list[str]:
        return [f"{images} numbers, {failed} problems"]


class NumberPredictor(Predictor):
    """A network ready to answer."""

    def __init__(self, checkpoint: Checkpoint, settings: PredictionSettings):
        self.net, self.size = load(checkpoint), settings.batch_size

    def predict(self, paths: Iterable[Any], *, chosen: Chosen | None = None) -> Iterator[Any]:
        for batch in path_batches(paths, read=pixels, batch_size=self.size, chosen=chosen):
            for entry in batch:
                if isinstance(entry, Failure):
                    yield entry
                else:
                    with torch.inference_mode():
                        yield entry[0], float(self.net(entry[1][None])[0])

    def answer(self, prediction: tuple[str, float], place: None) -> dict[str, Any]:
        path, number = prediction
        return {"path": path, "number": number}


class NumberTask(Task):
    """From an image to a number."""

    name = "number"
    config = RunConfig  # pyright: ignore[reportAssignmentType]
    figures = ("loss",)
    headline = "mean error"
    predict_options = (Option(name="digits", type=int, least=0, help="digits after the point"),)

    def open_data(self, config: RunConfig, **options: Any) -> NumberData:
        return NumberData(config, **options)

    def make_module(self, config: RunConfig, data: Any) -> NumberModule:
        identity = {"task": self.name, "model_name": "net", "model_kwargs": {"width": config.width}}
        return NumberModule(Net(config.width), config=config, identity=identity)

    def image_size(self, config: RunConfig) -> str:
        return "any size"

    def measure(self, module: Any, data: Any, config: Any, *, device: Any) -> dict[str, Any]:
        loader = data.make_val_loader(rank=0, world=1, batch_size=data.val_batch_size)
        return measure_net(module.evaluated_net, loader, device=device).to_json()

    def save(self, net: nn.Module, path: Path, *, identity: Any, extra: Any) -> None:
        save_state_dict(net.state_dict(), path, {**identity, "extra": extra})

    def evaluate(self, checkpoint: Checkpoint, settings: EvaluationSettings) -> Evaluation:
        loader = eval_batches(
            Numbers(settings.data, settings.split or "val"),
            batch_size=settings.batch_size,
            collate=collate,
            on_error="skip",
        )
        result = measure_net(load(checkpoint), loader, device=settings.device)
        return Evaluation(measurement=result, figures={"loss": result.error}, about={})

    def predictor(self, checkpoint: Checkpoint, settings: PredictionSettings) -> NumberPredictor:
        return NumberPredictor(checkpoint, settings)

    def prediction_writer(self, facts: Any, options: Any) -> Printer:
        return Printer(options.get("digits", 2))


if __name__ == "__main__":
    from spanetv2.cli.main import main

    register(NumberTask())
    main()
