"""What a task provides so that it can be trained: the run asks for it in this order.

All that the engine knows of a task. Tasks are imported by commands that only want to know what
there is, so this module does not import Lightning.
"""

import abc
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from spanetv2.training.batching import BatchPlan
from spanetv2.training.config import BaseRunConfig

if TYPE_CHECKING:
    from spanetv2.training.data import TrainingData
    from spanetv2.training.module import TaskModule

__all__ = ["TrainingTask"]


class TrainingTask(abc.ABC):
    """A kind of run.

    Attributes:
        name: as on the command line.
        config: the class of its configuration.
        in_updates: whether a run can be counted in updates, ``schedule.updates``.
        figures: what validation measures, in the order of the log's columns; the first is what
            the best checkpoint is chosen by, unless the configuration says otherwise.
        headline: how the progress bar calls the first figure.
    """

    name: ClassVar[str]
    config: ClassVar[type[BaseRunConfig]]
    in_updates: ClassVar[bool] = False
    figures: ClassVar[tuple[str, ...]]
    headline: ClassVar[str]

    def even_batches(self, config: Any) -> bool:
        """Whether the number of images per device must be even."""
        return False

    @abc.abstractmethod
    def open_data(
        self, config: Any, *, plan: BatchPlan, pin_memory: bool, limit: int | float
    ) -> "TrainingData":
        """Open the training and the validation data.

        Args:
            config: of class ``self.config``.
            plan: images per device and update.
            pin_memory: what the configuration or the device asks for.
            limit: the Trainer's ``limit_train_batches``.

        Raises:
            UserError: no such data.
        """

    @abc.abstractmethod
    def make_module(self, config: Any, data: "TrainingData") -> "TaskModule":
        """Build the network, with the weights to start from, and its training step.

        Raises:
            UserError: no such model, or weights that do not fit.
        """

    @abc.abstractmethod
    def image_size(self, config: Any) -> str:
        """Size of a training image, for a message: ``224x224``."""

    @abc.abstractmethod
    def measure(
        self, module: "TaskModule", data: "TrainingData", config: Any, *, device: torch.device
    ) -> dict[str, Any]:
        """Measure ``module.evaluated_net`` on the whole validation data, in this process.

        The same code as ``spanetv2 evaluate`` runs.

        Returns:
            JSON values, with ``figures`` among them.
        """

    @abc.abstractmethod
    def save(
        self, net: nn.Module, path: Path, *, identity: dict[str, Any], extra: dict[str, Any]
    ) -> None:
        """Write the weights with all that is needed to use them again.

        Args:
            net: the network.
            path: ``weights.safetensors`` of the run folder.
            identity: the module's.
            extra: figures to record.
        """
