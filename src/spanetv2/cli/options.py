"""Commands whose options depend on the tasks: signatures made from the registry."""

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

from spanetv2.errors import UserError
from spanetv2.tasks import Task, all_tasks
from spanetv2.tasks.task import Command, Option

__all__ = [
    "CHECKPOINT",
    "DEVICE",
    "DTYPE",
    "OVERWRITE",
    "RESUME",
    "SHARD",
    "WORKERS",
    "default_of",
    "own_options",
    "signed",
    "with_task_options",
]

CHECKPOINT = typer.Argument(
    help="Weights: .safetensors, a run folder, the authors' .pth, a training .ckpt, a name of "
    "weights in the package (see `spanetv2 models`), hf-hub:OWNER/NAME[@REVISION], or "
    "local-dir:FOLDER in the same layout."
)
DTYPE = typer.Option(
    help="auto, float32, bfloat16; auto takes bfloat16 on CPUs where it is known to pay."
)
DEVICE = typer.Option(
    help="auto, cpu, cuda, cuda:1, mps; several with commas between work side by side: "
    "cuda:0,cuda:1."
)
SHARD = typer.Option(
    metavar="K/N", help="Do part K of N alone, into --out; spanetv2 merge joins the parts."
)
RESUME = typer.Option("--resume", help="Go on where --out ends, with the same weights and options.")
OVERWRITE = typer.Option("--overwrite", help="Replace the results in --out.")
WORKERS = typer.Option(min=0, help="Processes that read images.")


def with_task_options(
    function: Callable[..., None],
    command: Command,
    *,
    tasks: Iterable[Task] | None = None,
    texts: Mapping[str, str] | None = None,
) -> Callable[..., None]:
    """A command with the options that tasks add to it.

    Args:
        function: takes its own options by name, and ``options``: the values of the tasks' options
            by name, None where one was not given.
        command: what the tasks are asked about.
        tasks: those that add options; all by default. With one, help texts do not name it.
        texts: values of the ``{braces}`` in the help texts of the function's own options, and in
            its docstring.

    Returns:
        A function for typer.
    """
    asked = list(all_tasks()) if tasks is None else list(tasks)
    added = _parameters(asked, command, named=tasks is None)

    def run(**values: Any) -> None:
        options = {name: values.pop(name) for name in added}
        function(**values, options={k: None if v == [] else v for k, v in options.items()})

    signature = inspect.signature(function)
    own = [
        parameter.replace(
            kind=inspect.Parameter.KEYWORD_ONLY,
            annotation=_filled(parameter.annotation, texts or {}),
        )
        for parameter in signature.parameters.values()
        if parameter.name != "options"
    ]
    parameters = [*own, *added.values()]
    signed(run, parameters, like=function)
    run.__doc__ = inspect.cleandoc(function.__doc__ or "").format_map(texts or {})
    return run


def signed(
    run: Callable[..., Any], parameters: Sequence[inspect.Parameter], *, like: Callable[..., Any]
) -> Callable[..., Any]:
    """A function that typer reads with these parameters, and the name and text of another one.

    Args:
        run: is changed and given back.
        parameters: with their annotations.
        like: has the name and the docstring.
    """
    run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__name__, run.__doc__ = like.__name__, like.__doc__
    return run


def _parameters(
    tasks: list[Task], command: Command, *, named: bool
) -> dict[str, inspect.Parameter]:
    owners: dict[str, list[str]] = {}
    options: dict[str, Option] = {}
    for task in tasks:
        for option in task.options(command):
            if options.setdefault(option.name, option) != option:
                raise ValueError(f"two tasks mean different things by option {option.name}")
            owners.setdefault(option.name, []).append(task.name)
    return {
        name: _parameter(option, owners[name] if named else []) for name, option in options.items()
    }


def _parameter(option: Option, owners: list[str]) -> inspect.Parameter:
    text = f"{', '.join(owners).capitalize()}: {option.help}" if owners else option.help
    made = typer.Option(
        *([] if option.flag is None else [option.flag]),
        help=f"{text}.",
        min=option.least,
        max=option.most,
    )
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[option.type | None, made],
    )


def _filled(annotation: Any, texts: Mapping[str, str]) -> Any:
    """The annotation with the braces of its help text filled in."""
    (made,) = annotation.__metadata__
    if not texts or not made.help or "{" not in made.help:
        return annotation
    filled = copy.copy(made)
    filled.help = made.help.format_map(texts)
    return Annotated[annotation.__origin__, filled]


def default_of(attribute: str) -> str:
    """What the tasks take where nothing is given, in words: ``64 for classification, else 1``."""
    values = {task.name: getattr(task, attribute) for task in all_tasks()}
    usual = min(values.values())
    special = [f"{value} for {name}" for name, value in values.items() if value != usual]
    return ", ".join([*special, f"else {usual}" if special else str(usual)])


def own_options(task: Task, command: Command, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values given that are the task's; those of other tasks are refused.

    Args:
        task: of the checkpoint.
        command: what is run.
        values: option -> value, None where it was not given.

    Raises:
        UserError: an option of another task.
    """
    given = {name: value for name, value in values.items() if value is not None}
    own = {option.name for option in task.options(command)}
    if foreign := [name for name in given if name not in own]:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in foreign)
        owners = [
            other.name
            for other in all_tasks()
            if any(option.name == foreign[0] for option in other.options(command))
        ]
        raise UserError(
            f"got {flags}, which is for {' and '.join(owners)}; these are weights of {task.name}"
        )
    return given
