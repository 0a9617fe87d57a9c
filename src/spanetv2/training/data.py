"""The data of a run under Lightning, resumable at any batch."""

import abc
import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from spanetv2.errors import UserError
from spanetv2.training.batching import BatchPlan, is_all, limited_batches
from spanetv2.training.config import LoadingConfig
from spanetv2.training.stopping import shield_worker

__all__ = ["Position", "TrainingData"]


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where training goes on: the next image. How many make a batch may change when it does.

    Args:
        epoch: 0-based; in a run counted in updates, the stretches between two validations.
        image: 0-based, in the order of the epoch.
        order: images of the batches that the order of this epoch was made for, where it depends on
            them; None for those of the run.
    """

    epoch: int = 0
    image: int = 0
    order: int | None = None


class TrainingData(LightningDataModule, abc.ABC):
    """Loaders whose content is a function of seed and position, for any number of workers.

    A task's subclass opens the data and makes the loaders.

    Args:
        plan: how the total batch is put together.
        config: batch sizes and loading.
        seed: of order and augmentation.
        pin_memory: copy through page-locked memory.
        limit: at most so many batches in an epoch, or such a share of them.
        updates: updates in an "epoch", where the run is counted in them and the data set is one
            endless stream; None where epochs are passes over the data set.

    Attributes:
        position: where training goes on; set before each checkpoint, restored from it.
        classes: names of the classes, by index.
        has_validation: whether there are validation data.
        remarks: what a user should know about the data, each in a line or a paragraph.
        figures: what validation measures on these data, where it is other than the task says.
        headline: how the first of them is called, likewise.
    """

    classes: list[str]
    has_validation: bool
    figures: tuple[str, ...] | None = None
    headline: str | None = None

    def __init__(
        self,
        *,
        plan: BatchPlan,
        config: LoadingConfig,
        seed: int,
        pin_memory: bool = False,
        limit: int | float = 1.0,
        updates: int | None = None,
    ):
        super().__init__()
        # a validation split smaller than the number of processes leaves some without any
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.plan = plan
        self.config = config
        self.seed = seed
        self.pin_memory = pin_memory
        self.limit = limit
        self.updates = updates
        self.position = Position()
        self._resumed = Position()
        self.remarks: list[str] = []

    # a task's part -------------------------------------------------------------------------------

    @abc.abstractmethod
    def length(self) -> int | None:
        """Number of training images, None if unknown."""

    @abc.abstractmethod
    def describe(self) -> str:
        """The data in a line."""

    @abc.abstractmethod
    def make_train_loader(self, *, rank: int, world: int) -> DataLoader[Any]:
        """Batches of ``plan.per_device`` images for a process.

        It, or its ``batch_sampler``, has ``start`` and ``set_epoch``, as ``EpochSampler`` does.
        """

    @abc.abstractmethod
    def make_val_loader(self, *, rank: int, world: int, batch_size: int) -> DataLoader[Any]:
        """Validation images in order, each on exactly one process.

        Args:
            rank: the process.
            world: number of processes.
            batch_size: images per batch over all of them.
        """

    def contents(self) -> Iterable[Any]:
        """The training images and their labels in order: a JSON value for each.

        Names are those that the images have wherever the data set lies. Empty where a task cannot
        tell: changes then go unnoticed.
        """
        return ()

    @property
    def lanes(self) -> int | None:
        """Loading processes, over all devices, of a stream, whose order depends on their number;
        None where it does not."""
        return None

    # for all -------------------------------------------------------------------------------------

    def fingerprint(self) -> str | None:
        """Changes with the names, the labels or the order of the training images, or the classes.

        None where the task does not tell what they are. What files contain is not looked at.
        """
        digest, found = hashlib.sha256(json.dumps(self.classes).encode()), False
        for item in self.contents():
            found = True
            digest.update(json.dumps(item).encode())
        return digest.hexdigest() if found else None

    @property
    def images_per_pass(self) -> int:
        """Images of a forward pass on all devices."""
        return self.plan.per_device * self.plan.devices

    def order_of(self, epoch: int) -> int:
        """Images of the batches that the order of an epoch is made for.

        They are the run's, but for an epoch that was begun with batches of another size.
        """
        position = self._resumed
        begun = position.image > 0 and epoch == position.epoch and position.order is not None
        return position.order if begun and position.order else self.images_per_pass

    def position_after(self, *, epoch: int, batches: int) -> Position:
        """The place after so many passes of an epoch."""
        images = batches * self.images_per_pass
        return Position(epoch=epoch, image=images, order=self.order_of(epoch))

    @property
    def loading(self) -> dict[str, Any]:
        """Arguments that every loader of the run takes."""
        return {
            "workers": self.config.workers,
            "pin_memory": self.pin_memory,
            "persistent_workers": self.config.persistent_workers,
        }

    @property
    def val_batch_size(self) -> int:
        """Validation images per device at a time."""
        return self.config.val_batch_size or self.plan.per_device

    @property
    def batches_per_epoch(self) -> int | None:
        """Batches of one forward pass in an epoch, a whole number of updates; None if unknown.

        Raises:
            UserError: the data set is smaller than one total batch.
        """
        if self.updates is not None:
            return self.updates * self.plan.accumulation
        length = self.length()
        if length is None:
            return None
        batches = self.batches_in(length)
        batches = limited_batches(batches, self.limit)
        whole = batches - batches % self.plan.accumulation
        if whole == 0:
            everything = is_all(self.limit)
            limited = "" if everything else f" under trainer.limit_train_batches={self.limit}"
            raise UserError(
                f"the training split has {length} images, not one total batch of {self.plan.total}"
                + limited
                + "; lower data.total_batch (and optimizer.lr with it)"
            )
        return whole

    def fit_plan(self, *, even: bool) -> None:
        """Lower the total batch where the data set is smaller than one."""
        length = self.length() if self.updates is None else None
        if length is not None:
            batches = self.batches_in(length)
            self.plan = self.plan.lowered(images=length, batches=batches, even=even)

    def batches_in(self, length: int) -> int:
        """Batches of one forward pass on all devices in a pass over so many images."""
        return length // self.images_per_pass

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        loader = self.make_train_loader(
            rank=self.trainer.global_rank, world=self.trainer.world_size
        )
        loader.worker_init_fn = shield_worker
        # Lightning makes the first iterator before it tells the epoch: place the sampler now.
        self.place(loader)
        return loader

    def place(self, loader: DataLoader[Any]) -> None:
        """Move a fresh training loader to ``position``."""
        _order(loader).start(self.position.epoch, self.position.image // self.images_per_pass)

    def val_dataloader(self) -> Any:
        if not self.has_validation:
            return []
        assert self.trainer is not None
        loader = self.make_val_loader(
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
            batch_size=self.val_batch_size * self.plan.devices,
        )
        loader.worker_init_fn = shield_worker
        return loader

    def begin_epoch(self, epoch: int) -> None:
        """Move the training loader to an epoch; without effect if it is there already."""
        assert self.trainer is not None
        if hasattr(order := _order(self.trainer.train_dataloader), "set_epoch"):
            order.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self.position)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.position = self._resumed = Position(**state_dict)


def _order(loader: Any) -> Any:
    """What moves a training loader: its batch sampler, or that of a stream itself."""
    return loader if hasattr(loader, "set_epoch") else getattr(loader, "batch_sampler", None)
