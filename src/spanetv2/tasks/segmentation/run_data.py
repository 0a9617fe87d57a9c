"""Images with label maps for a run."""

import dataclasses
from typing import Any

from torch.utils.data import DataLoader

from spanetv2.data.loader import eval_batches, train_batches
from spanetv2.data.sampler import EpochSampler, IterationSampler
from spanetv2.data.splits import validation_note
from spanetv2.tasks.segmentation.config import DataConfig, RunConfig
from spanetv2.tasks.segmentation.data.check import check_headers
from spanetv2.tasks.segmentation.data.folder import DatasetSpec, open_dataset
from spanetv2.tasks.segmentation.data.source import PairSource, collate
from spanetv2.tasks.segmentation.data.transforms import (
    EvalTransform,
    TrainTransform,
    collate_views,
)
from spanetv2.training.data import TrainingData
from spanetv2.training.run import rank

__all__ = ["SegmentationData"]


class SegmentationData(TrainingData):
    """Training and validation images of a segmentation model.

    Args:
        config: of the run.
        **options: of ``TrainingData``.

    Attributes:
        train: training images, with augmentation.
        val: validation images, None trains without.

    Raises:
        UserError: no such data, or files that cannot be used as their headers show.
    """

    def __init__(self, config: RunConfig, **options: Any):
        schedule = config.schedule
        interval = None if schedule.updates is None else schedule.validation_interval
        super().__init__(config=config.data, seed=config.seed, updates=interval, **options)
        own = config.data
        spec = DatasetSpec(
            name=own.dataset,
            root=own.root,
            split=own.train_split,
            classes=own.classes,
            class_file=own.class_file,
        )
        self.train = open_dataset(spec, TrainTransform(config.preprocessing, config.augmentation))
        self.classes = self.train.classes
        self.has_validation = own.val_split is not None
        self.val: PairSource | None = None
        if own.val_split is not None:
            spec = dataclasses.replace(spec, split=own.val_split)
            views = EvalTransform(config.preprocessing, config.inference.scales)
            self.val = open_dataset(spec, views)
        sources = [source for source in (self.train, self.val) if source is not None]
        check_headers(sources, progress=rank() == 0)

    def length(self) -> int:
        return len(self.train)

    def describe(self) -> str:
        sizes = [f"{len(self.train):,} training"]
        if self.val is not None:
            sizes.append(f"{len(self.val):,} validation")
        assert isinstance(self.config, DataConfig)
        note = validation_note(self.config.val_split)
        return f"{self.train.name}, {' and '.join(sizes)} images{note}, {len(self.classes)} classes"

    def make_train_loader(self, *, rank: int, world: int) -> DataLoader[Any]:
        common: dict[str, Any] = {
            "batch_size": self.plan.per_device * self.plan.devices,
            "seed": self.seed,
            "rank": rank,
            "world": world,
        }
        if self.updates is None:
            sampler = EpochSampler(len(self.train), **common)
        else:
            batches = self.batches_per_epoch
            assert batches is not None
            sampler = IterationSampler(len(self.train), batches=batches, **common)
        return train_batches(
            self.train,
            sampler=sampler,
            seed=self.seed,
            collate=collate,
            **self.loading,
        )

    def make_val_loader(self, *, rank: int, world: int, batch_size: int) -> DataLoader[Any]:
        assert self.val is not None
        return eval_batches(
            self.val,
            batch_size=batch_size,
            collate=collate_views,
            rank=rank,
            world=world,
            **self.loading,
        )
