"""What a task provides for the commands, beside what the training engine asks of it."""

from spanetv2.training.task import TrainingTask

__all__ = ["Task"]


class Task(TrainingTask):
    """A kind of work: its data, network, training, measures and pictures."""
