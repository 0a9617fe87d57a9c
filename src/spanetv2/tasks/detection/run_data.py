"""Annotated images for a run."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from spanetv2.data.apart import refuse_shared
from spanetv2.data.loader import eval_batches, train_batches
from spanetv2.data.splits import canonical_split, validation_note
from spanetv2.data.white import find_white, white_line
from spanetv2.errors import UserError
from spanetv2.tasks.detection.config import DataConfig, RunConfig
from spanetv2.tasks.detection.data.batch import collate
from spanetv2.tasks.detection.data.coco import CocoDetection
from spanetv2.tasks.detection.data.layout import CocoFiles, find_coco
from spanetv2.tasks.detection.data.reading import Reading
from spanetv2.tasks.detection.data.record import some
from spanetv2.tasks.detection.data.sampler import AspectRatioSampler
from spanetv2.tasks.detection.data.transforms import TrainTransform
from spanetv2.training.data import TrainingData

__all__ = ["DetectionData"]


class DetectionData(TrainingData):
    """Training and validation images of a detector.

    Args:
        config: of the run.
        **options: of ``TrainingData``.

    Attributes:
        train: training images, with augmentation.
        detector: options of the detector, with what the data decide of them.
        val: validation images as they are annotated, None trains without.

    Raises:
        UserError: no such data.
    """

    def __init__(self, config: RunConfig, **options: Any):
        super().__init__(config=config.data, seed=config.seed, **options)
        own = config.data
        reading = Reading(
            orientation=own.orientation,
            boxes=own.boxes,
            empty_classes=own.empty_classes,
            masks=config.detector.masks is not False,
            max_pixels=own.max_pixels,
        )
        self.train = CocoDetection(
            *_files(own, "train"),
            training=True,
            classes=own.classes,
            transform=TrainTransform(config.augmentation),
            reading=reading,
        )
        self.classes = self.train.classes
        self.detector = config.detector.decided(has_masks=self.train.has_masks)
        if self.detector.masks and not self.train.has_masks:
            raise UserError(
                f"detector.masks is yes, but no object of {self.train.annotations} has a mask, "
                "expected auto or no (boxes alone)"
            )
        if not self.detector.masks:
            self.train.without_masks()
        if self.detector.white is None:
            white = find_white(self.train.deep, max_pixels=own.max_pixels, progress=True)
            self.detector = dataclasses.replace(self.detector, white=white)
        self.train.with_white(self.detector.white)
        reading = self.train.reading
        self.has_validation = own.val_split is not None or own.val_annotations is not None
        self.val: CocoDetection | None = None
        if self.has_validation:
            # A class without validation images keeps its number; one never trained is refused.
            # Files are checked here, before the first update and not after an epoch.
            self.val = CocoDetection(
                *_files(own, "val"), classes=self.classes, reading=reading, strict=True
            )
            if not _asks_for_training_images(own):
                refuse_shared(self.train.locations(), self.val.locations())

    def length(self) -> int:
        return len(self.train)

    def contents(self) -> Iterable[Any]:
        return self.train.contents()

    def describe(self) -> str:
        parts = [f"{len(self.train):,} training"]
        if self.val is not None:
            parts.append(f"{len(self.val):,} validation")
        assert isinstance(self.config, DataConfig)
        # Of a file given by its path nobody said that it is a split.
        named = self.config.val_split if self.config.val_annotations is None else None
        same = self.config.train_split if _asks_for_training_images(self.config) else None
        note = validation_note(named, train=same)
        text = f"{' and '.join(parts)} images{note}, {len(self.classes)} classes"
        left = self.train.counts.left_out_text()
        lines = [f"{text}; left out of training: {left}" if left else text]
        if empty := [name for name in self.classes if not self.train.counts.objects[name]]:
            lines.append(f"no object to train on of {len(empty)} classes: {some(empty)}")
        if self.train.deep:
            lines.append(
                white_line(len(self.train.deep), self.detector.white, option="detector.white")
            )
        notes = [note for data in (self.train, self.val) if data is not None for note in data.notes]
        return "\n  ".join([*lines, *notes])

    def make_train_loader(self, *, rank: int, world: int) -> DataLoader[Any]:
        sampler = AspectRatioSampler(
            self.train.sizes,
            batch_size=self.plan.per_device * self.plan.devices,
            seed=self.seed,
            rank=rank,
            world=world,
            order_of=self.order_of,
        )
        return train_batches(
            self.train,
            sampler=sampler,
            seed=self.seed,
            collate=collate,
            **self.loading,
        )

    @property
    def val_batch_size(self) -> int:
        return self.config.val_batch_size or 1

    def make_val_loader(self, *, rank: int, world: int, batch_size: int) -> DataLoader[Any]:
        assert self.val is not None
        return eval_batches(
            self.val,
            batch_size=batch_size,
            collate=collate,
            rank=rank,
            world=world,
            **self.loading,
        )


def _asks_for_training_images(config: DataConfig) -> bool:
    """Whether validation on the training images is what was asked for, by the split's name."""
    if config.val_split is None or config.train_annotations or config.val_annotations:
        return False
    return canonical_split(config.val_split) == canonical_split(config.train_split)


def _files(config: DataConfig, split: str) -> CocoFiles:
    annotations = getattr(config, f"{split}_annotations")
    if annotations is not None:
        return CocoFiles(Path(annotations), Path(getattr(config, f"{split}_images")))
    if config.root is None:
        raise UserError(
            "got no data, expected --data with a folder in COCO's layout, or "
            f"--data.{split}_annotations and --data.{split}_images"
        )
    return find_coco(config.root, getattr(config, f"{split}_split"))
