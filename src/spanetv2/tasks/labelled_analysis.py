"""What the analysis asks alike of tasks whose networks are measured on their own labelled data."""

from typing import TYPE_CHECKING

from spanetv2.errors import UserError

if TYPE_CHECKING:
    from spanetv2.analysis.subset import DataSubset
    from spanetv2.models.weights import Checkpoint

__all__ = ["labelled_subset", "own_checkpoint"]


def labelled_subset(
    task: str, folder: str | None, *, dataset: str, split: str, limit: int
) -> "DataSubset":
    """What the command line says of a task's data.

    Raises:
        UserError: no folder.
    """
    from spanetv2.analysis.subset import DataSubset

    if folder is None:
        raise UserError(f"got no data, expected --images with a folder of {task}'s data")
    kind = None if dataset == "folder" else dataset
    return DataSubset(folder=folder, dataset=kind, split=split, limit=limit)


def own_checkpoint(task: str, model: "str | Checkpoint") -> "Checkpoint":
    """The checkpoint to be analysed.

    Raises:
        UserError: a model's name.
    """
    if isinstance(model, str):
        raise UserError(f"got {model}, expected a checkpoint of {task}")
    return model
