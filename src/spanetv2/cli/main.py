"""The ``spanetv2`` command. Each sub-command is a module of its own and imports what it needs."""

import itertools
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from spanetv2.cli.analyze import app as analyze
from spanetv2.cli.benchmark import benchmark
from spanetv2.cli.check_data import check_data_app
from spanetv2.cli.convert import convert
from spanetv2.cli.convert_data import convert_data
from spanetv2.cli.evaluate import evaluate_command
from spanetv2.cli.explore import explore
from spanetv2.cli.export import export_command
from spanetv2.cli.merge import merge
from spanetv2.cli.messages import messages_on_stderr
from spanetv2.cli.models import models
from spanetv2.cli.numbers import with_limits
from spanetv2.cli.predict import predict_command
from spanetv2.cli.push import push
from spanetv2.cli.quickstart import quickstart
from spanetv2.cli.recipes import recipes
from spanetv2.cli.scenes import scenes
from spanetv2.cli.terminal import CLOSED_PIPE, safe_streams, silence
from spanetv2.errors import UserError, reasons
from spanetv2.failures import describe_failure
from spanetv2.kept import keeping

__all__ = ["main", "make_app"]

TRACEBACK = "SPANETV2_TRACEBACK"


def make_app() -> typer.Typer:
    """The whole command, with the options of every task that is registered by now."""
    app = typer.Typer(
        name="spanetv2",
        help="SPANetV2: spectral-adaptive modulation networks. Train, evaluate, predict, convert.",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    app.command(
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(train)
    app.command()(quickstart)
    app.command()(evaluate_command())
    app.command()(predict_command())
    app.command()(merge)
    app.command()(convert)
    app.command()(export_command())
    app.command()(push)
    app.command()(explore)
    app.command()(benchmark)
    app.command()(scenes)
    app.add_typer(check_data_app(), name="check-data")
    app.command("convert-data")(convert_data)
    app.command()(models)
    app.command()(recipes)
    app.add_typer(analyze, name="analyze")
    return with_limits(app)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"spanetv2 {version('spanetv2')}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


def train(context: typer.Context) -> None:
    """Train a model from a recipe, or go on with a run (train --help shows more)."""
    from spanetv2.cli.train import main as run

    raise typer.Exit(run(context.args))


def main(app: Callable[[], object] | None = None) -> None:
    """Run a command line, by default ours; a failure is one line on stderr and exit status 1."""
    try:
        with safe_streams():
            _run(app)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        silence()
        sys.exit(CLOSED_PIPE)


def _run(app: Callable[[], object] | None) -> None:
    try:
        with messages_on_stderr(), keeping(), warnings.catch_warnings():
            # what Pillow has to remark about metadata is no message of ours
            warnings.filterwarnings("ignore", module=r"PIL\.")
            _refuse_empty(sys.argv)
            (app or make_app())()
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _say_stopped()
        sys.exit(130)
    except SystemExit as end:
        # typer ends by itself, without a word
        if any(isinstance(one, KeyboardInterrupt) for one in reasons(end)):
            _say_stopped()
        raise
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get(TRACEBACK):
            raise
        if (told := describe_failure(error)) is not None:
            _fail(told)
        first = (str(error).strip().splitlines() or ["no message"])[0]
        _fail(f"not foreseen: {first}; set {TRACEBACK}=1 to see where, and report it")


def _say_stopped() -> None:
    command, *words = sys.argv[1:] or [""]
    resumes = command in ("predict", "evaluate") and any(w.startswith("--out") for w in words)
    print("stopped" + "; the same with --resume goes on" * resumes, file=sys.stderr)


def _refuse_empty(words: Sequence[str]) -> None:
    """Refuse words that are empty, as those of unset variables: as a path they would be here."""
    for before, word in itertools.pairwise(words):
        name = word if word.startswith("--") and word.endswith("=") else before
        if not word or name is word:
            raise UserError(
                f"got an empty name behind {name}, expected one; is a variable of the shell unset?"
            )


def _fail(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(1)
