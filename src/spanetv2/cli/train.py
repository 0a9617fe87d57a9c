"""``spanetv2 train``: turns its arguments into a call of ``spanetv2.train``."""

import os
import sys
import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spanetv2.errors import ConfigError, Interrupted, UserError

if TYPE_CHECKING:
    from spanetv2.tasks import Task
    from spanetv2.training.run import RunResult

__all__ = ["ConfigError", "main", "run_training"]

_USAGE = """\
usage: spanetv2 train TASK --config RECIPE [--data PATH] [--out FOLDER] [options]

tasks
{tasks}

See: spanetv2 train TASK --help, and spanetv2 recipes
"""

_HELP = """\
usage: spanetv2 train {task} --config RECIPE [--data PATH] [--out FOLDER] [options]

Train {trains}, measure it, and leave a folder with its weights and metrics.

common options
  --config RECIPE      a YAML file or a shipped recipe (see: spanetv2 recipes); may be repeated
  --data PATH          {data}
  --out FOLDER         the run folder (default: runs/<recipe or model>)
  --resume             go on from the last checkpoint in --out
  --extend EPOCHS      go on with the finished run in --out, with a new schedule
  --changed-data       let a run go on whose training files or labels have changed
  --overwrite          replace the run in --out
  --weights CKPT       {weights}
{more}  --print-config       print the whole configuration, every option with its value, and stop
  --help-all           describe every option

any value of the configuration, by its place in the YAML{values}
{examples}"""


def main(argv: list[str]) -> int:
    """Run ``spanetv2 train`` with the arguments after ``train``.

    Returns:
        Exit status: 0; 1 for a user's error; 2 for a wrong configuration; 128 + n after signal n.
    """
    try:
        if not argv or argv[0] in ("-h", "--help"):
            print(_usage(), end="")
        elif {"-h", "--help"} & set(argv[1:]):
            print(_help(_find_task(argv[0])), end="")
        else:
            run_training(argv)
    except ConfigError as error:
        return _fail(error, 2)
    except UserError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        print("\nstopped before training began (Ctrl-C)", file=sys.stderr)
        return 130
    except Interrupted as error:
        return _stopped(error)
    return 0


def run_training(argv: list[str]) -> "RunResult | None":
    """Train as the command line says, in this process.

    Args:
        argv: as after ``spanetv2 train``: the task, then options.

    Returns:
        The run's folder, weights and metrics; None where something was only printed.

    Raises:
        ConfigError: a wrong option or value.
        UserError: wrong input.
        Interrupted: a signal stopped it, after saving.
    """
    from spanetv2.api import resolve_training, train

    task = _find_task(argv[0] if argv else "nothing")
    line = _read(argv[1:])
    if line.printed == "--help-all":
        from spanetv2.extras import need_extra

        need_extra("train", use="the options of training")
        from spanetv2.training.parser import RunParser

        print(RunParser(task.name, task.config).describe(), end="")
        return None
    if line.printed == "--print-config":
        resolved = resolve_training(
            task, line.config, out=line.out, resume=line.resume, extend=line.extend
        )
        print(resolved.text, end="")
        return None
    return train(
        task,
        line.config,
        out=line.out,
        resume=line.resume,
        overwrite=line.overwrite,
        extend=line.extend,
        changed_data=line.changed_data,
        command=" ".join(["spanetv2", "train", *argv]),
    )


def _usage() -> str:
    from spanetv2.tasks import all_tasks

    guides = {task.name: task.guide for task in all_tasks()}
    width = max(map(len, guides))
    lines = [f"  {name:<{width}}   {guide.summary}".rstrip() for name, guide in guides.items()]
    return _USAGE.format(tasks="\n".join(lines))


def _help(task: "Task") -> str:
    guide = task.guide
    column = " " * len("  --data PATH          ")

    def indented(text: str) -> str:
        return textwrap.indent(text, column).lstrip()

    return _HELP.format(
        task=task.name,
        trains=guide.trains,
        data=indented(guide.data),
        weights=indented(guide.weights),
        more=f"{guide.more}\n" if guide.more else "",
        values=f", for instance\n{guide.values}\n" if guide.values else "\n",
        examples=f"examples\n{guide.examples}\n" if guide.examples else "",
    )


def _find_task(name: str) -> "Task":
    from spanetv2.tasks import find_task

    try:
        return find_task(name)
    except UserError as error:
        raise ConfigError(str(error)) from error


def _fail(error: UserError, status: int) -> int:
    number = next((os.environ[k] for k in ("RANK", "LOCAL_RANK") if k in os.environ), "0")
    prefix = "" if number == "0" else f"[process {number}] "
    print(f"{prefix}error: {' '.join(str(error).split())}", file=sys.stderr)
    return status


def _stopped(error: Interrupted) -> int:
    from spanetv2.training.run import rank

    if rank() == 0:
        print(error, file=sys.stderr)
        return error.status
    return 0  # a launcher would take another process's status for a crash and kill the first


@dataclass(kw_only=True)
class _Line:
    """What a command line says.

    Attributes:
        config: recipes, and between them lists of options as they are typed.
        out: the run folder.
        resume: go on with the run in it.
        overwrite: replace it.
        extend: epochs to add to it.
        changed_data: whether its data may have changed.
        printed: the option that prints something instead of training.
    """

    config: list[str | list[str]] = field(default_factory=list)
    out: str | None = None
    resume: bool = False
    overwrite: bool = False
    extend: int | None = None
    changed_data: bool = False
    printed: str | None = None

    def add(self, *words: str) -> None:
        """Add typed options."""
        if not self.config or isinstance(self.config[-1], str):
            self.config.append([])
        typed: Any = self.config[-1]
        typed.extend(words)


def _read(argv: list[str]) -> _Line:
    """Tell recipes from options, and spell out the shorthands."""
    line = _Line()
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")

        def take(name: str = name, equals: str = equals, value: str = value) -> str:
            if equals:
                return value
            if not rest:
                raise ConfigError(f"{name} needs a value")
            return rest.pop(0)

        if name == "--resume":
            line.resume = True
            if equals or (rest and not rest[0].startswith("-")):
                line.out = take()
        elif word == "--overwrite":
            line.overwrite = True
        elif name == "--extend":
            line.extend = _whole(name, take())
        elif word == "--changed-data":
            line.changed_data = True
        elif word in ("--print-config", "--print_config", "--help-all"):
            line.printed = word.replace("_", "-")
        elif name in ("--config", "-c"):
            line.config.append(take())
        elif name == "--data":
            line.add("--data.root", take())
        elif name == "--model":
            line.add("--model.name", take())
        elif name == "--out":
            line.out = take()
        elif name == "--freeze" and not equals and (not rest or rest[0].startswith("-")):
            line.add("--freeze", "all")
        else:
            line.add(word)
    if (line.resume or line.extend) and line.overwrite:
        raise ConfigError("got --resume or --extend and --overwrite, expected one of them")
    return line


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"{name}: got {text}, expected a whole number") from None
