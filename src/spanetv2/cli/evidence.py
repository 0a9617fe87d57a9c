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
    plan: Annotated[str, typer.Option(help="cpu, gpu or gpu_scenes.")] = "cpu",
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


@app.command("speed")
def speed(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the runs.")],
    plan: Annotated[str, typer.Option(help="cpu, gpu or gpu_scenes.")] = "cpu",
    rows: Annotated[
        str | None, typer.Option(help="Only these rows, with commas between them.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Timings of each.")] = 15,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Measure the throughput of a plan's rows in turns, into DIR/speed.csv."""
    from tqdm import tqdm

    from spanetv2.device import choose_device
    from spanetv2.evidence.plan import find_plan
    from spanetv2.evidence.results import write_table
    from spanetv2.evidence.speed import measure_speed

    chosen = find_plan(plan).chosen(_words(rows))
    place = choose_device("cpu" if device == "auto" and plan == "cpu" else device).type
    with tqdm(total=2 * len(chosen.rows) * (rounds + 2), unit="pass", dynamic_ncols=True) as bar:
        measured = measure_speed(chosen, rounds=rounds, device=place, progress=bar.update)
    write_table(out / "speed.csv", measured)
    typer.echo(f"wrote {out / 'speed.csv'}")


@app.command("report")
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
    from spanetv2.errors import UserError
    from spanetv2.evidence.report import compare, tables_of, write_report
    from spanetv2.evidence.results import gather, read_results, write_results

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
