"""``python -m studies.mixers``: what each part of the mixer is worth, by controlled experiments."""

from pathlib import Path
from typing import Annotated

import typer

from spanetv2.cli.main import main
from spanetv2.errors import UserError

__all__ = ["app"]

app = typer.Typer(
    name="python -m studies.mixers",
    help="Compare token mixers: one skeleton, one recipe, several seeds.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Plan = Annotated[str, typer.Option(help="cpu, gpu or gpu_scenes.")]
Rows = Annotated[str | None, typer.Option(help="Only these rows, with commas between them.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _device(device: str, plan: str) -> str:
    from spanetv2.device import choose_device

    return choose_device("cpu" if device == "auto" and plan == "cpu" else device).type


@app.command()
def run(
    out: Annotated[Path, typer.Option(help="Folder with one folder per run.")],
    plan: Plan = "cpu",
    rows: Rows = None,
    seeds: Annotated[
        str | None, typer.Option(help="Only these seeds, with commas between them.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(help="Runs side by side.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Folder of the data set, where it is not found.")
    ] = None,
    device: Device = "auto",
) -> None:
    """Train and measure the rows of a plan; finished runs stay, interrupted ones go on."""
    from studies.mixers.plan import find_plan
    from studies.mixers.run import run_plan

    try:
        numbers = None if seeds is None else [int(word) for word in _words(seeds) or []]
    except ValueError:
        raise UserError(f"got seeds {seeds!r}, expected numbers such as 0,1,2") from None
    chosen = find_plan(plan).chosen(_words(rows), numbers, jobs)
    if out.exists() and not out.is_dir():
        raise UserError(f"got the file {str(out)!r}, expected a folder for the runs")
    folders = run_plan(chosen, out, data=data, device=_device(device, plan), progress=True)
    typer.echo(f"{len(folders)} runs in {out}")


@app.command()
def speed(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the runs.")],
    plan: Plan = "cpu",
    rows: Rows = None,
    rounds: Annotated[int, typer.Option(min=1, help="Timings of each.")] = 15,
    device: Device = "auto",
) -> None:
    """Measure the throughput of a plan's rows in turns, into DIR/speed.csv."""
    from tqdm import tqdm

    from studies.mixers.plan import find_plan
    from studies.mixers.results import write_table
    from studies.mixers.speed import measure_speed

    chosen, chip = find_plan(plan).chosen(_words(rows)), _device(device, plan)
    with tqdm(total=2 * len(chosen.rows) * (rounds + 2), unit="pass", dynamic_ncols=True) as bar:
        measured = measure_speed(chosen, rounds=rounds, device=chip, progress=bar.update)
    write_table(out / "speed.csv", measured)
    typer.echo(f"wrote {out / 'speed.csv'}")


@app.command()
def report(
    runs: Annotated[
        Path | None, typer.Argument(metavar="[DIR]", help="Folder of the runs.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where tables and figures go (default: DIR/report).")
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option("--csv", help="Make them of the CSV files in this folder, without runs."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Compare with the CSV files in this folder, earlier runs."),
    ] = None,
) -> None:
    """Tables (CSV, Markdown) and figures of finished runs; or a comparison with earlier ones."""
    from studies.mixers.report import compare, tables_of, write_report
    from studies.mixers.results import gather, read_results, write_results

    if (runs is None) == (tables is None):
        raise UserError("got runs and --csv or neither, expected one of them")
    if tables is not None:
        results, target = read_results(tables), out or tables
    else:
        assert runs is not None
        target = out or runs / "report"
        write_results(gather(runs), target)
        results = read_results(target)  # rounded as they are kept
    for line in [] if against is None else compare(results, read_results(against)):
        typer.echo(line)
    for table in tables_of(results) if against is None else []:
        typer.echo(table.text())
    for path in write_report(results, target):
        typer.echo(f"wrote {path}")


if __name__ == "__main__":
    main(app)
