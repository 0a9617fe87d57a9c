"""Images with label maps for a run."""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import Any

from torch.utils.data import DataLoader

from spanetv2.data.apart import refuse_shared
from spanetv2.data.loader import eval_batches, train_batches
from spanetv2.data.sampler import EpochSampler, IterationSampler
from spanetv2.data.splits import canonical_split, validation_note
from spanetv2.data.white import white_line
from spanetv2.errors import UserError
from spanetv2.tasks.segmentation.config import DataConfig, RunConfig
from spanetv2.tasks.segmentation.data.check import (
    check_headers,
    count_masks,
    refuse,
    settle_white,
)
from spanetv2.tasks.segmentation.data.folder import DatasetSpec, decided, open_dataset
from spanetv2.tasks.segmentation.data.shares import find_class_problems, share_line
from spanetv2.tasks.segmentation.data.source import PairSource, collate
from spanetv2.tasks.segmentation.data.transforms import (
    EvalTransform,
    TrainTransform,
    collate_views,
)
from spanetv2.training.data import TrainingData
from spanetv2.training.run import rank

__all__ = ["SegmentationData"]

_PARTS = ("training", "validation")


class SegmentationData(TrainingData):
    """Training and validation images of a segmentation model.

    Args:
        config: of the run.
        **options: of ``TrainingData``.

    Attributes:
        train: training images, with augmentation.
        val: validation images, None trains without.
        dataset: ade20k or folder.
        preprocessing: of the run, with what the data decide of it.

    Raises:
        UserError: no such data, files that cannot be used as their headers or masks show, or a
            class without a pixel.
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
            max_pixels=own.max_pixels,
            **own.reading(),
        )
        spec = decided(spec)
        self.dataset = spec.name
        self.train = open_dataset(spec)
        self.classes = self.train.classes
        self.has_validation = own.val_split is not None
        self.val: PairSource | None = None
        if own.val_split is not None:
            self.val = open_dataset(dataclasses.replace(spec, split=own.val_split))
            _check_same_classes(self.train, self.val)
            if canonical_split(own.val_split) != canonical_split(own.train_split):
                refuse_shared(self.train.images(), self.val.images())
        sources = [source for source in (self.train, self.val) if source is not None]
        counts = check_headers(sources, progress=rank() == 0)
        self.remarks = [
            f"{what}: {line}"
            for what, source, count in zip(_PARTS, sources, counts, strict=False)
            for line in (*source.remarks, count.remark(source.orientation))
            if line
        ]
        if rank() == 0:  # the others wait for it, and stop with it
            allow = own.allow_missing_classes or own.empty_classes == "keep"
            self._look_at_classes(sources, allow_missing=allow)
        deep, white = settle_white(self.train, given=config.preprocessing.white, progress=True)
        self.preprocessing = dataclasses.replace(config.preprocessing, white=white)
        if deep:
            self.remarks.append(white_line(deep, white, option="preprocessing.white"))
        self.train.transform = TrainTransform(self.preprocessing, config.augmentation)
        if self.val is not None:
            self.val.transform = EvalTransform(self.preprocessing, config.inference.scales)
        for source in sources:
            source.white = white

    def _look_at_classes(self, sources: Sequence[PairSource], *, allow_missing: bool) -> None:
        """Count the pixels of every class, and stop on what training cannot mean.

        Raises:
            UserError: a mask that cannot be read, or a class without a pixel.
        """
        surveys = [count_masks(source, progress=True) for source in sources]
        refuse([problem for found in surveys for problem in found.problems])
        for what, source, found in zip(_PARTS, sources, surveys, strict=False):
            training = what == "training"
            if training:
                self.remarks.insert(0, share_line(source.classes, found.counts))
            judged = find_class_problems(
                source, found.counts, training=training, allow_missing=allow_missing
            )
            if judged.errors:
                raise UserError(f"{what} masks: {judged.errors[0]}")
            self.remarks += [f"{what}: {line}" for line in judged.warnings]
            present = sum(count > 0 for count in found.pixels)
            if not training and present < len(source.classes):
                self.remarks.append(f"mIoU covers {present} of {len(source.classes)} classes")

    def length(self) -> int:
        return len(self.train)

    def contents(self) -> Iterable[Any]:
        # of two parallel trees: what lies above both moves with the data set
        top = os.path.commonpath([path for pair in self.train.pairs for path in pair])
        for pair in self.train.pairs:
            yield [os.path.relpath(path, top) for path in pair]

    def describe(self) -> str:
        sizes = [f"{len(self.train):,} training"]
        if self.val is not None:
            sizes.append(f"{len(self.val):,} validation")
        assert isinstance(self.config, DataConfig)
        note = validation_note(self.config.val_split, train=self.config.train_split)
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


def _check_same_classes(train: PairSource, val: PairSource) -> None:
    if train.classes != val.classes:
        raise UserError(
            f"got the classes {', '.join(train.classes[:5])} in training and "
            f"{', '.join(val.classes[:5])} in validation, expected one class list; put it into the "
            "folder above both"
        )
