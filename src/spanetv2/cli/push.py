"""``spanetv2 push``: a finished run on the Hugging Face Hub, or its files in a folder."""

import sys
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["push"]


def push(
    run: Annotated[
        str, typer.Argument(help="A run folder, or a safetensors file that this package wrote.")
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="OWNER/NAME", help="Repository on the Hub.")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="Write the files into this folder and reach no network: a dry run."),
    ] = None,
    private: Annotated[
        bool | None,
        typer.Option("--private/--public", help="Of a repository that is made by this."),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="An existing branch of it.")] = None,
    message: Annotated[str | None, typer.Option(help="Of the commit.")] = None,
    license: Annotated[
        str | None,
        typer.Option(help="Of the weights, by the Hub's short name, such as apache-2.0."),
    ] = None,
    limits: Annotated[
        list[str] | None,
        typer.Option(help="A paragraph on what the network cannot do; may be given several times."),
    ] = None,
    picture: Annotated[
        list[Path] | None,
        typer.Option(help="A PNG for the card beside those in the run's folder; several times."),
    ] = None,
) -> None:
    """Put a run on the Hugging Face Hub: weights, config.json and a card made of the run.

    The card tells data, recipe, commit, figures, limits and pictures. timm, transformers and every
    command here (hf-hub:OWNER/NAME) read what is there. Log in with `hf auth login`, or set
    HF_TOKEN. A card there that somebody wrote is kept.
    """
    from spanetv2.errors import UserError
    from spanetv2.hub.run import push_run, write_run

    if folder is None and name is None:
        raise UserError("got no OWNER/NAME and no --folder, expected one of them")
    about = {"--private/--public": private, "--revision": revision, "--message": message}
    if folder is not None and (given := [key for key, said in about.items() if said is not None]):
        raise UserError(f"got {given[0]} with --folder, which reaches no Hub; expected one of them")
    told = {"licence": license, "limits": limits or (), "pictures": picture or ()}
    if folder is not None:
        files = write_run(run, folder, name, **told)
        size = sum(file.stat().st_size for file in files) / 1e6
        typer.echo(f"{run} -> {folder}: {', '.join(f.name for f in files)} ({size:.1f} MB)")
        return
    assert name is not None
    done = push_run(run, name, private=private, revision=revision, message=message, **told)
    for file in done.kept:
        print(f"{file} there was not written by this command, and is kept", file=sys.stderr)
    typer.echo(f"{run} -> {done.address}: {', '.join(done.files)}")
