"""Labelled images for a run."""

import contextlib
import dataclasses
from collections.abc import Iterable
from typing import Any

from torch.utils.data import DataLoader

from spanetv2.data.preprocessing import eval_transform
from spanetv2.data.splits import canonical_split, validation_note
from spanetv2.errors import UserError
from spanetv2.tasks.classification.config import DataConfig, RunConfig
from spanetv2.tasks.classification.data.holdout import (
    PartSource,
    check_apart,
    held_out_note,
    held_out_record,
    hold_out,
)
from spanetv2.tasks.classification.data.loader import eval_loader, train_loader
from spanetv2.tasks.classification.data.sources import (
    DatasetSpec,
    ImageSource,
    StreamSource,
    open_dataset,
)
from spanetv2.tasks.classification.data.transforms import train_transform
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

    Raises:
        UserError: no such data.
    """

    def __init__(self, config: RunConfig, **options: Any):
        super().__init__(config=config.data, seed=config.seed, **options)
        self.held_out: dict[str, Any] | None = None
        self.train = self._open(config, config.data, training=True)
        self.classes = self.train.classes
        self.has_validation = config.data.val_split is not None
        self.val: ImageSource | StreamSource | None = None
        if config.data.val_share is not None:
            self._hold_out(config, config.data.val_share)
        elif self.has_validation:
            # A class without validation images keeps its number; one never trained is refused.
            settings = dataclasses.replace(config.data, classes=self.classes, class_file=None)
            self.val = self._open(config, settings, training=False)
            assert config.data.val_split is not None
            if canonical_split(config.data.val_split) != canonical_split(config.data.train_split):
                check_apart(self.train, self.val)
        self.remarks = self._remarks()

    def _hold_out(self, config: RunConfig, share: float) -> None:
        """Take validation images from the training images."""
        whole = self.train
        if not isinstance(whole, ImageSource):
            raise UserError(
                "got data.val_share for a stream, expected data that can be divided; name a "
                "validation split (--data.val_split)"
            )
        kept, held = hold_out(whole, share, seed=config.seed)
        self.has_validation = True
        self.train = PartSource(whole, kept, transform=whole.transform)
        self.val = PartSource(whole, held, transform=eval_transform(config.preprocessing))
        self.val.split_note = held_out_note(share, config.seed)
        self.held_out = held_out_record(whole, share, seed=config.seed)

    def _remarks(self) -> list[str]:
        parts = (("training", self.train), ("validation", self.val))
        lines = [
            f"{what}: {line}"
            for what, source in parts
            if isinstance(source, ImageSource)
            for line in source.remarks
        ]
        labels = [getattr(source, "labels", None) for _, source in parts]
        if labels[0] is not None and labels[1] is not None:
            missing = [
                self.classes[i] for i in sorted({*labels[0].tolist()} - {*labels[1].tolist()})
            ]
            if missing:
                more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
                lines.append(
                    f"no validation images of {len(missing)} of {len(self.classes)} classes: "
                    f"{', '.join(missing[:5])}{more}"
                )
        return lines

    def _open(
        self, run: RunConfig, config: DataConfig, *, training: bool
    ) -> ImageSource | StreamSource:
        split = config.train_split if training else config.val_split
        assert split is not None
        spec = DatasetSpec(
            name=config.dataset,
            root=config.root,
            split=split,
            labels=config.labels if training else config.val_labels or config.labels,
            image_column=config.image_column,
            label_column=config.label_column,
            download=config.download,
            classes=config.classes,
            class_file=config.class_file,
            num_samples=config.num_samples if training else config.val_num_samples,
            input_key=config.input_key,
            target_key=config.target_key,
        )
        transform = (
            train_transform(run.preprocessing, run.augmentation)
            if training
            else eval_transform(run.preprocessing)
        )
        return open_dataset(
            spec,
            transform,
            training=training,
            seed=run.seed,
            batch_size=self.plan.per_device,
            on_error="raise",
        )

    def length(self) -> int | None:
        try:
            return len(self.train)  # pyright: ignore[reportArgumentType]
        except TypeError:
            return None

    def contents(self) -> Iterable[Any]:
        if isinstance(self.train, ImageSource) and self.train.labels is not None:
            labels = self.train.labels.tolist()
            yield from ((self.train.key(i), label) for i, label in enumerate(labels))

    def describe(self) -> str:
        sizes = []
        for split, source in (("training", self.train), ("validation", self.val)):
            if source is not None:
                with contextlib.suppress(TypeError):
                    sizes.append(f"{len(source):,} {split}")  # pyright: ignore[reportArgumentType]
        assert isinstance(self.config, DataConfig)
        declared = self.val.split_note if self.val is not None else ""
        note = validation_note(
            None if self.config.val_share else self.config.val_split,
            declared,
            train=self.config.train_split,
        )
        return f"{self.config.dataset}, {' and '.join(sizes) or 'a stream of'} images{note}"

    def make_train_loader(self, *, rank: int, world: int) -> DataLoader[Any]:
        return train_loader(
            self.train,
            batch_size=self.plan.per_device * self.plan.devices,
            seed=self.seed,
            rank=rank,
            world=world,
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

    def place(self, loader: DataLoader[Any]) -> None:
        if isinstance(self.train, StreamSource):
            self.train.set_epoch(self.position.epoch)
        else:
            super().place(loader)

    def begin_epoch(self, epoch: int) -> None:
        if isinstance(self.train, StreamSource):
            self.train.set_epoch(epoch)
        else:
            super().begin_epoch(epoch)
