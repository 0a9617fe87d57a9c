"""``python -m studies.performance``: docs/performance.md of the results in benchmarks/results."""

from pathlib import Path
from typing import Annotated

import typer

from spanetv2.cli.main import main
from studies.performance.page import PAGE, RESULTS, write_page

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def performance(
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="Files of `spanetv2 benchmark` (default: benchmarks/results/*.json)."),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="The page (default: docs/performance.md).", show_default=False)
    ] = PAGE,
) -> None:
    """Write goals, tables and pictures of benchmark results into the page on performance."""
    for path in write_page(results or sorted(RESULTS.glob("*.json")), out):
        typer.echo(f"wrote {path}")


if __name__ == "__main__":
    main(app)
