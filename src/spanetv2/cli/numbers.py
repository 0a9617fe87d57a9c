"""Numbers on command lines: refused by their option's name where nothing can be done with them."""

import copy
import inspect
import math
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from spanetv2.cli.options import signed
from spanetv2.processes import MOST_WORKERS

__all__ = ["MOST", "with_limits"]

MOST = 2**31 - 1
"""Of what is counted; also the largest seed."""
MOST_OF = {"workers": MOST_WORKERS, "threads": 1024, "size": 2**16, "opset": 100}
"""Of options whose larger values are a slip of the keyboard."""


def with_limits(app: typer.Typer) -> typer.Typer:
    """The commands of an application, with every number held against what it may be.

    Numbers that are not finite, and whole ones beyond ``MOST``, are refused as typer refuses what
    is out of an option's own range; ranges of options stay as they are.

    Args:
        app: is changed, with the groups in it; twice is as once.
    """
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _limited(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            with_limits(group.typer_instance)
    return app


def _limited(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function)
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = []
    for name, parameter in signature.parameters.items():
        hint = hints.get(name)
        if typing.get_origin(hint) is Annotated and {*_kinds(hint)} & {int, float}:
            kind, *about = typing.get_args(hint)
            hint = Annotated[kind, *(_checked(made, MOST_OF.get(name, MOST)) for made in about)]
            parameter = parameter.replace(annotation=hint)
        parameters.append(parameter)

    if parameters == list(signature.parameters.values()):
        return function  # limited before

    def run(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return signed(run, parameters, like=function)


def _kinds(hint: Any) -> Iterator[Any]:
    """The types in a hint, one by one."""
    yield hint
    for part in typing.get_args(hint):
        yield from _kinds(part)


def _checked(made: Any, most: int) -> Any:
    """An option that refuses odd numbers, then does what it did."""
    if not isinstance(made, typer.models.OptionInfo) or made.callback is not None:
        return made

    def check(value: Any) -> Any:
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                raise typer.BadParameter(f"got {number}, expected a finite number")
            if isinstance(number, int) and abs(number) > most:
                raise typer.BadParameter(f"got {number}, expected at most {most}")
        return value

    made = copy.copy(made)
    made.callback = check
    return made
