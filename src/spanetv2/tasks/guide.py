"""What a command's help says of a task."""

from dataclasses import dataclass

__all__ = ["TrainGuide"]


@dataclass(frozen=True, kw_only=True)
class TrainGuide:
    """A task's part in the help of ``spanetv2 train``; every text may have several lines.

    Args:
        summary: the task in a few words, for the list of tasks.
        trains: what is trained, with its article.
        data: what ``--data`` expects.
        weights: what ``--weights`` may start from.
        more: further options, each with two spaces, its name and what it does.
        values: values of the configuration that are often changed, in lines of the same form.
        examples: command lines, with two spaces before each.
    """

    summary: str = ""
    trains: str = "a model"
    data: str = "root of the data set"
    weights: str = "start from these weights"
    more: str = ""
    values: str = ""
    examples: str = ""
