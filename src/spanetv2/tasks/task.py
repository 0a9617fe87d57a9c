"""What a task provides for the commands, beside what the training engine asks of it."""

from typing import ClassVar

from spanetv2.tasks.guide import TrainGuide
from spanetv2.training.task import TrainingTask

__all__ = ["Task"]


class Task(TrainingTask):
    """A kind of work: its data, network, training, measures and pictures.

    Attributes:
        guide: what the help of ``spanetv2 train`` says of it.
    """

    guide: ClassVar[TrainGuide] = TrainGuide()
