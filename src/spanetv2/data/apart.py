"""Splits that must not have images in common: figures on training images measure no learning."""

import os
from collections.abc import Callable, Iterable, Sequence

from spanetv2.errors import UserError

__all__ = ["TAKE_OUT", "refuse_shared", "shared_files", "shared_text"]

TAKE_OUT = "take them out of one, or train without validation (--data.val_split null)"
"""What to do where a share cannot be held out by an option."""


def shared_files(train: Iterable[str], val: Iterable[str]) -> list[str]:
    """The files of ``val`` that are files of ``train``; links are what they lead to."""
    real = _real_path()
    known = {real(path) for path in train}
    return [path for path in val if real(path) in known]


def shared_text(shared: Sequence[str], total: int, what: str = "validation") -> str:
    """How images that are training images, too, are told.

    Example:
        >>> shared_text(["val/1.jpg"], 4)
        '1 of 4 validation images that are training images, too (first val/1.jpg)'
    """
    return (
        f"{len(shared)} of {total} {what} images that are training images, too (first {shared[0]})"
    )


def refuse_shared(train: Iterable[str], val: Sequence[str], *, advice: str = TAKE_OUT) -> None:
    """Refuse validation images that are files of the training images.

    Copies are what check-data looks for.

    Args:
        train: paths of the images.
        val: paths of the images.
        advice: what to do.

    Raises:
        UserError: naming a file, and what to do.
    """
    if shared := shared_files(train, val):
        raise UserError(f"got {shared_text(shared, len(val))}, expected others; {advice}")


def _real_path() -> Callable[[str], str]:
    """``os.path.realpath`` that looks at each folder once."""
    folders: dict[str, str] = {}

    def real(path: str) -> str:
        if os.path.islink(path):  # noqa: PTH114 - a million of them
            return os.path.realpath(path)
        folder, name = os.path.split(path)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        return os.path.join(folders[folder], name)  # noqa: PTH118

    return real
