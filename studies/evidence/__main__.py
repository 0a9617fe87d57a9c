"""``python -m studies.evidence``: experiments that could refute what is claimed of the mixers."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spanetv2.cli.main import main
from spanetv2.errors import UserError

if TYPE_CHECKING:
    from studies.evidence.part import Context

__all__ = ["app"]

app = typer.Typer(
    name="python -m studies.evidence",
    help="Ask five questions of token mixers, with runs that stop and go on.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

ScaleName = Annotated[str, typer.Option(help="small, cpu or gpu.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Seeds = Annotated[str | None, typer.Option(help="Instead of the scale's, commas between them.")]
Root = Annotated[str | None, typer.Option(help="Folder of Fashion-MNIST, where it is not found.")]
Vectorised = Annotated[
    bool | None, typer.Option(help="All seeds in one call (by default on a GPU).")
]
Compiled = Annotated[bool | None, typer.Option(help="torch.compile (by default on a GPU).")]


def _numbers(text: str | None, what: str) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(dict.fromkeys(int(word) for word in text.split(",") if word.strip()))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 0:
        raise UserError(f"got {what} {text!r}, expected numbers such as 0,1,2")
    return numbers


def _context(
    scale: str, device: str, root: str | None, vectorised: bool | None, compiled: bool | None
):
    from spanetv2.device import choose_device
    from studies.evidence.part import Context
    from studies.evidence.scale import find_scale

    found = find_scale(scale)
    chip = choose_device("cpu" if device == "auto" and scale != "gpu" else device).type
    on_gpu = chip == "cuda"
    return Context(
        scale=found,
        device=chip,
        root=root,
        vectorised=on_gpu if vectorised is None else vectorised,
        compiled=on_gpu if compiled is None else compiled,
        bfloat16=on_gpu,
    )


@app.command()
def run(
    out: Annotated[Path, typer.Option(help="Folder with one folder per part.")],
    part: Annotated[str, typer.Option(help="tuning, accuracy, rates, gates, cues or bands.")],
    scale: ScaleName = "cpu",
    minutes: Annotated[
        float | None,
        typer.Option(min=0.01, help="Time for this call; decides the length of the runs."),
    ] = None,
    updates: Annotated[int | None, typer.Option(min=1, help="Length of the runs, instead.")] = None,
    only: Annotated[
        str | None,
        typer.Option(help="Only conditions with these values, such as row=spam,band=low."),
    ] = None,
    seeds: Seeds = None,
    root: Root = None,
    device: Device = "auto",
    vectorised: Vectorised = None,
    compiled: Compiled = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Runs side by side, one thread each (default: one per core)."),
    ] = None,
) -> None:
    """Make the runs of a part that are not there yet; finished ones stay."""
    from studies.evidence.parts import find_part
    from studies.evidence.run import run_part

    asked, numbers = find_part(part), _numbers(seeds, "seeds")
    context = _context(scale, device, root, vectorised, compiled)
    if out.exists() and not out.is_dir():
        raise UserError(f"got the file {str(out)!r}, expected a folder for the parts")
    conditions = _chosen(asked.conditions(context.scale), only)
    store = run_part(
        asked,
        context,
        out,
        minutes=minutes,
        updates=updates,
        conditions=conditions,
        seeds=numbers,
        workers=workers or _workers(context),
        progress=True,
    )
    length = store.about["settings"]["updates"]
    typer.echo(
        f"{part}: {len(store.runs)} of {store.about['runs']} runs of {length} updates in "
        f"{store.folder}"
    )


def _workers(context: "Context") -> int:
    if context.vectorised or context.device != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _chosen(conditions: list[dict[str, str]], only: str | None) -> list[dict[str, str]] | None:
    if only is None:
        return None
    pairs = [tuple(word.split("=", 1)) for word in only.split(",")]
    if any(len(pair) != 2 for pair in pairs):
        raise UserError(f"got --only {only!r}, expected pairs such as row=spam,band=low")
    wanted: dict[str, set[str]] = {}
    for name, value in pairs:
        known = list(dict.fromkeys(c[name] for c in conditions if name in c))
        if value not in known:
            values = ", ".join(known) or f"a column of {', '.join(conditions[0])}"
            raise UserError(f"got --only {name}={value}, expected {values}")
        wanted.setdefault(name, set()).add(value)
    return [c for c in conditions if all(c[name] in wanted[name] for name in wanted)]


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the parts.")],
    out: Annotated[
        Path | None, typer.Option(help="Where tables and figures go (default: DIR/report).")
    ] = None,
) -> None:
    """Tables and pictures, from the CSV files alone; parts that are not finished say so."""
    from studies.evidence.report import write_report

    target = out or folder / "report"
    paths = write_report(folder, target)
    typer.echo(paths[0].read_text(encoding="utf-8"))
    for path in paths:
        typer.echo(f"wrote {path}")


@app.command()
def shipped(root: Root = None) -> None:
    """Flatten the gates of the package's Fashion-MNIST classifier, and see what it loses."""
    from studies.evidence.shipped import flatten_shipped

    found = flatten_shipped(root=root)
    typer.echo(
        f"{found.right} of {found.images} test images are right with the gates as learned "
        f"({found.lowest:.2f} to {found.highest:.2f}, deviation {found.spread:.3f}), "
        f"{found.flat_right} with every channel's gates at their mean: {found.lost} lost, "
        f"{found.gained} gained, p = {found.p_value:.2f}"
    )


@app.command()
def power(
    claims: Annotated[int, typer.Option(min=1, help="Number of claims to correct for.")] = 20,
) -> None:
    """Say how small a difference three, five, ten and twenty seeds can see, before any run."""
    from studies.evidence.judge import power_table

    typer.echo(power_table(claims=claims).text())


@app.command()
def throughput(
    out: Annotated[Path, typer.Option(help="CSV file to write.")],
    scale: ScaleName = "gpu",
    updates: Annotated[int, typer.Option(min=1, help="Updates that are timed.")] = 100,
    warmup: Annotated[int, typer.Option(min=1, help="Updates before.")] = 20,
    seeds: Seeds = None,
    root: Root = None,
    device: Device = "auto",
    vectorised: Vectorised = None,
    compiled: Compiled = None,
) -> None:
    """Measure images a second of every row, as the runs train them."""
    from studies.evidence.throughput import measure_throughput
    from studies.mixers.results import write_table

    context = _context(scale, device, root, vectorised, compiled)
    numbers = _numbers(seeds, "seeds") or context.scale.seeds
    records = measure_throughput(context, numbers, updates=updates, warmup=warmup)
    write_table(out, records)
    for record in records:
        typer.echo(
            f"{record['row']}: {record['images_per_second']:,.0f} images/s, "
            f"{record['seconds_for_whole']:.0f} s for a whole run of {record['seeds']} seeds"
        )


if __name__ == "__main__":
    main(app)
