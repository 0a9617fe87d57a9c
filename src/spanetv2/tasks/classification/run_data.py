"""Labelled images for a run."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from torch.utils.data import DataLoader

from spanetv2.data.preprocessing import eval_transform
from spanetv2.data.splits import validation_note
from spanetv2.data.white import white_line
from spanetv2.errors import UserError
from spanetv2.tasks.classification.config import DataConfig, RunConfig
from spanetv2.tasks.classification.data.loader import eval_loader, train_loader
from spanetv2.tasks.classification.data.sampler import class_members
from spanetv2.tasks.classification.data.sources import ImageSource, StreamSource
from spanetv2.tasks.classification.data.transforms import train_transform
from spanetv2.tasks.classification.parts import (
    class_faults,
    classes_unseen,
    divide,
    open_part,
    settle_white,
)
from spanetv2.training.data import TrainingData

__all__ = ["ClassificationData"]


class ClassificationData(TrainingData):
    """Training and validation images of a classifier.

    Args:
        config: of the run.
        **options: of ``TrainingData``.

    Attributes:
        train: training images, with augmentation.
        val: validation images, None trains without.
        held_out: how the validation images are found again, where they were held out.
        preprocessing: of the run, with what the data decide of it.
        multi_label: whether images have several labels, or none.

    Raises:
        UserError: no such data, or a class that cannot be learned.
    """

    def __init__(self, config: RunConfig, **options: Any):
        super().__init__(config=config.data, seed=config.seed, **options)
        own = config.data
        common: Any = {"seed": config.seed, "batch_size": self.plan.per_device}
        whole = open_part(own, own.train_split, training=True, **common)
        if faults := class_faults(whole, keep=own.empty_classes == "keep"):
            raise UserError(faults[0])
        if own.class_balanced:
            class_members(whole)  # refuses what cannot be
        parts = divide(own, whole, **common)
        self.train, self.val, self.held_out = parts
        self.classes = self.train.classes
        self.has_validation = self.val is not None
        self.multi_label = isinstance(self.train, ImageSource) and self.train.multi_label
        if self.multi_label:
            self.figures, self.headline = ("map", "f1", "loss"), "mAP"
        deep, white = settle_white(
            self.train,
            given=config.preprocessing.white,
            max_pixels=own.max_pixels,
            progress=True,
        )
        self.preprocessing = dataclasses.replace(config.preprocessing, white=white)
        self.train.transform = train_transform(self.preprocessing, config.augmentation)
        self.train.take_white(white)
        if self.val is not None:
            self.val.transform = eval_transform(self.preprocessing)
            self.val.take_white(white)
        self.remarks = [
            f"{what}: {line}"
            for what, source in (("training", self.train), ("validation", self.val))
            if isinstance(source, ImageSource)
            for line in source.remarks
        ]
        if unseen := classes_unseen(parts):
            self.remarks.append(unseen)
        if deep:
            self.remarks.append(white_line(deep, white, option="preprocessing.white"))

    def length(self) -> int | None:
        return _images(self.train)

    @property
    def lanes(self) -> int | None:
        if isinstance(self.train, StreamSource):
            return self.plan.devices * max(1, self.config.workers)
        return None

    def contents(self) -> Iterable[Any]:
        if isinstance(self.train, StreamSource):
            yield from self.train.content()
        elif self.train.labels is not None:
            labels = self.train.labels.tolist()
            yield from ((self.train.key(i), label) for i, label in enumerate(labels))

    def describe(self) -> str:
        sizes = []
        for split, source in (("training", self.train), ("validation", self.val)):
            if source is not None and (images := _images(source)) is not None:
                sizes.append(f"{images:,} {split}")
        assert isinstance(self.config, DataConfig)
        declared = self.val.split_note if self.val is not None else ""
        note = validation_note(
            None if self.config.val_share else self.config.val_split,
            declared,
            train=self.config.train_split,
        )
        return f"{self.config.dataset}, {' and '.join(sizes) or 'a stream of'} images{note}"

    def make_train_loader(self, *, rank: int, world: int) -> DataLoader[Any]:
        assert isinstance(self.config, DataConfig)
        return train_loader(
            self.train,
            batch_size=self.plan.per_device * self.plan.devices,
            seed=self.seed,
            rank=rank,
            world=world,
            class_balanced=self.config.class_balanced,
            **self.loading,
        )

    def make_val_loader(self, *, rank: int, world: int, batch_size: int) -> DataLoader[Any]:
        assert self.val is not None
        return eval_loader(
            self.val,
            batch_size=batch_size,
            rank=rank,
            world=world,
            **self.loading,
        )


def _images(source: ImageSource | StreamSource) -> int | None:
    """Number of images, None if unknown."""
    return source.images if isinstance(source, StreamSource) else len(source)
