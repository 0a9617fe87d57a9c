"""What functions for users are given, held against what they take, before anything is done."""

from numbers import Integral, Real
from os import PathLike
from typing import Any

from spanetv2.errors import UserError

__all__ = ["check_count", "check_network", "check_path", "check_share"]


def check_path(name: str, value: Any, *, kind: str = "a path") -> None:
    """Refuse what is no path, or an empty one, which would be the current folder.

    Raises:
        UserError: saying what was got and what was expected.
    """
    if not isinstance(value, str | PathLike):
        raise UserError(f"got {_shown(value)} for {name}, expected {kind}")
    if value == "":
        raise UserError(f"got an empty path for {name}, expected {kind}")


def check_count(name: str, value: Any, *, least: int, most: int | None = None) -> None:
    """Refuse what is no whole number, or one beyond the limits.

    Raises:
        UserError: saying what was got and what was expected.

    Example:
        >>> check_count("batch_size", 1.5, least=1)
        Traceback (most recent call last):
        spanetv2.errors.UserError: got batch_size 1.5, expected a whole number, 1 or more
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < least or not (most is None or value <= most):
        limits = f"{least} or more" if most is None else f"{least} to {most}"
        raise UserError(f"got {name} {_shown(value)}, expected a whole number, {limits}")


def check_share(name: str, value: Any) -> None:
    """Refuse what is no number from 0 to below 1.

    Raises:
        UserError: saying what was got and what was expected.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < 1:  # pyright: ignore
        raise UserError(f"got {name} {_shown(value)}, expected a number from 0 to below 1")


def check_network(options: dict[str, Any]) -> None:
    """Refuse sizes and rates that no network has, among options of one; None is passed over.

    Raises:
        UserError: naming the first.
    """
    for name, least in (("num_classes", 0), ("in_chans", 1)):
        if options.get(name) is not None:
            check_count(name, options[name], least=least)
    for name in ("drop_rate", "proj_drop_rate", "drop_path_rate"):
        if options.get(name) is not None:
            check_share(name, options[name])


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:60] + "..."
