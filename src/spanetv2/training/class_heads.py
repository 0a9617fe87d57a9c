"""Which rows of a layer that tells classes go on, when a run starts from other weights."""

import logging
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

__all__ = ["moved_rows", "rows_of_classes", "say_new_head"]

_logger = logging.getLogger("spanetv2")


def rows_of_classes(
    names: Sequence[str] | None, new_names: Sequence[str] | None
) -> list[int] | None:
    """The row of each class in weights, by its name.

    Where names are not known on one side, equal numbers must do: the rows stay where they are.

    Args:
        names: names of the weights' classes by row.
        new_names: names of the run's.

    Returns:
        A row for each class of the run; None where the classes are others.

    Example:
        >>> rows_of_classes(["cat", "dog"], ["dog", "cat"]), rows_of_classes(["cat"], ["dog"])
        ([1, 0], None)
    """
    if names is None or new_names is None:
        return list(range(len(names or new_names or ())))
    if list(names) == list(new_names):
        return list(range(len(names)))
    if len(set(names)) < len(names) or sorted(names) != sorted(new_names):
        return None
    return [list(names).index(name) for name in new_names]


def moved_rows(
    state: Mapping[str, Tensor], names: Iterable[str], rows: Sequence[int], *, before: int = 0
) -> dict[str, Tensor]:
    """Layers with their rows in another order.

    Args:
        state: weights and biases by name, one or more rows for each class.
        names: which.
        rows: what ``rows_of_classes`` gave.
        before: classes that have no name and come first, such as the background.
    """
    order = [*range(before), *(row + before for row in rows)]
    moved: dict[str, Tensor] = {}
    for name in names:
        value = state[name]
        each = value.shape[0] // len(order)  # a detector has four numbers of a box for a class
        grouped = value.reshape(len(order), each, *value.shape[1:])
        moved[name] = grouped[order].reshape(value.shape)
    return moved


def say_new_head(
    where: object, names: Sequence[str] | None, new_names: Sequence[str] | None
) -> None:
    """Tell that what tells classes is made anew."""
    _logger.warning(
        "%s: trained for other classes (%s, not %s): the layers that tell classes are made anew",
        where,
        _some(names),
        _some(new_names),
    )


def _some(names: Sequence[str] | None) -> str:
    if names is None:
        return "without names"
    more = f", ... {len(names)} in all" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
