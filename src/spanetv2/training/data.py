"""The data of a run under Lightning, resumable at any batch."""

from dataclasses import asdict, dataclass
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from spanetv2.errors import UserError
from spanetv2.tasks.classification.data.loader import eval_loader, train_loader
from spanetv2.tasks.classification.data.sampler import EpochSampler
from spanetv2.tasks.classification.data.sources import (
    DatasetSpec,
    ImageSource,
    StreamSource,
    open_dataset,
)
from spanetv2.tasks.classification.data.transforms import (
    Augmentation,
    Preprocessing,
    eval_transform,
    train_transform,
)
from spanetv2.training.batching import BatchPlan
from spanetv2.training.config import DataConfig
from spanetv2.training.stopping import shield_worker

__all__ = ["Position", "TrainingData", "open_split"]


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where training goes on: the next batch.

    Args:
        epoch: 0-based.
        batch: 0-based, counted in batches of one forward pass per device.
    """

    epoch: int = 0
    batch: int = 0


def open_split(
    config: DataConfig,
    *,
    training: bool,
    preprocessing: Preprocessing,
    augmentation: Augmentation,
    seed: int = 0,
    batch_size: int = 1,
) -> ImageSource | StreamSource:
    """Open the training or the validation split with the transform that belongs to it.

    Args:
        config: which data set.
        training: training split and augmentation, or validation split and none.
        preprocessing: size, statistics, interpolation.
        augmentation: for training images.
        seed: order of a stream.
        batch_size: images per device at a time; streams want to know.

    Raises:
        UserError: no such data.
    """
    split = config.train_split if training else config.val_split
    assert split is not None
    spec = DatasetSpec(
        name=config.dataset,
        root=config.root,
        split=split,
        download=config.download,
        classes=config.classes,
        class_file=config.class_file,
        num_samples=config.num_samples if training else config.val_num_samples,
        input_key=config.input_key,
        target_key=config.target_key,
    )
    transform = (
        train_transform(preprocessing, augmentation) if training else eval_transform(preprocessing)
    )
    return open_dataset(
        spec, transform, training=training, seed=seed, batch_size=batch_size, on_error="raise"
    )


class TrainingData(LightningDataModule):
    """Loaders whose content is a function of seed and position, for any number of workers.

    Args:
        train: training images.
        val: validation images, None trains without.
        plan: how the total batch is put together.
        config: batch sizes and loading.
        seed: of order and augmentation.
        pin_memory: copy through page-locked memory.
        limit: at most so many batches in an epoch, or such a share of them.

    Attributes:
        position: where training goes on; set before each checkpoint, restored from it.
    """

    def __init__(
        self,
        train: ImageSource | StreamSource,
        val: ImageSource | StreamSource | None,
        *,
        plan: BatchPlan,
        config: DataConfig,
        seed: int,
        pin_memory: bool = False,
        limit: int | float = 1.0,
    ):
        super().__init__()
        # a validation split smaller than the number of processes leaves some without any
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.train = train
        self.val = val
        self.plan = plan
        self.config = config
        self.seed = seed
        self.pin_memory = pin_memory
        self.limit = limit
        self.position = Position()

    @property
    def batches_per_epoch(self) -> int | None:
        """Batches of one forward pass in an epoch, a whole number of updates; None if unknown.

        Raises:
            UserError: the data set is smaller than one total batch.
        """
        try:
            length = len(self.train)  # pyright: ignore[reportArgumentType]
        except TypeError:
            return None
        batches = length // (self.plan.per_device * self.plan.devices)
        limited = self.limit if isinstance(self.limit, int) else int(batches * self.limit)
        batches = min(batches, limited)
        whole = batches - batches % self.plan.accumulation
        if whole == 0:
            raise UserError(
                f"the training split has {length} images, not one total batch of {self.plan.total}"
                + ("" if self.limit == 1.0 else f" under trainer.limit_train_batches={self.limit}")
                + "; lower data.total_batch (and optimizer.lr with it)"
            )
        return whole

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        loader = train_loader(
            self.train,
            batch_size=self.plan.per_device * self.plan.devices,
            seed=self.seed,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
            workers=self.config.workers,
            pin_memory=self.pin_memory,
            persistent_workers=self.config.persistent_workers,
        )
        loader.worker_init_fn = shield_worker
        # Lightning makes the first iterator before it tells the epoch: place the sampler now.
        if isinstance(loader.batch_sampler, EpochSampler):
            loader.batch_sampler.start(self.position.epoch, self.position.batch)
        else:
            assert isinstance(self.train, StreamSource)
            self.train.set_epoch(self.position.epoch)
        return loader

    def val_dataloader(self) -> Any:
        if self.val is None:
            return []
        assert self.trainer is not None
        per_device = self.config.val_batch_size or self.plan.per_device
        loader = eval_loader(
            self.val,
            batch_size=per_device * self.plan.devices,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
            workers=self.config.workers,
            pin_memory=self.pin_memory,
            persistent_workers=self.config.persistent_workers,
        )
        loader.worker_init_fn = shield_worker
        return loader

    def begin_epoch(self, epoch: int) -> None:
        """Move the training loader to an epoch; without effect if it is there already."""
        assert self.trainer is not None
        loader = self.trainer.train_dataloader
        sampler = getattr(loader, "batch_sampler", None)
        if isinstance(sampler, EpochSampler):
            sampler.set_epoch(epoch)
        elif isinstance(self.train, StreamSource):
            self.train.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self.position)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.position = Position(**state_dict)
