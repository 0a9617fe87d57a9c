"""``spanetv2 analyze``: how token mixers treat frequencies, in theory and in trained models."""

import typer

from spanetv2.cli.analyze.model import model
from spanetv2.cli.analyze.theory import theory

__all__ = ["app"]

app = typer.Typer(
    name="analyze",
    help="Frequency analysis of token mixers: the theory, and trained models.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.command()(theory)
app.command()(model)
