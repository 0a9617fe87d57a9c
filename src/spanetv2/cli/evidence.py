"""``spanetv2 evidence``: what each part of the mixer is worth, by controlled experiments."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(
    name="evidence",
    help="Compare token mixers: one skeleton, one recipe, several seeds.",
    no_args_is_help=True,
)


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


@app.command("run")
def run(
    out: Annotated[Path, typer.Option(help="Folder with one folder per run.")],
    plan: Annotated[str, typer.Option(help="cpu or gpu.")] = "cpu",
    rows: Annotated[
        str | None, typer.Option(help="Only these rows, with commas between them.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Only these seeds, with commas between them.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Runs side by side.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder of the data set, where it is not found.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Train and measure the rows of a plan; finished runs stay, interrupted ones go on."""
    from spanetv2.device import choose_device
    from spanetv2.errors import UserError
    from spanetv2.evidence.plan import find_plan
    from spanetv2.evidence.run import run_plan

    try:
        numbers = None if seeds is None else [int(word) for word in _words(seeds) or []]
    except ValueError:
        raise UserError(f"got seeds {seeds!r}, expected numbers such as 0,1,2") from None
    chosen = find_plan(plan).chosen(_words(rows), numbers, jobs)
    if out.exists() and not out.is_dir():
        raise UserError(f"got the file {str(out)!r}, expected a folder for the runs")
    place = choose_device("cpu" if device == "auto" and plan == "cpu" else device).type
    folders = run_plan(chosen, out, data=data, device=place, progress=True)
    typer.echo(f"{len(folders)} runs in {out}")
