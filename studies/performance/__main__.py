"""``python -m studies.performance``: docs/performance.md of the results in benchmarks/results."""

from pathlib import Path
from typing import Annotated

import typer

from spanetv2.cli.main import main
from studies.performance.page import PAGE, RESULTS, write_page


def performance(
    results: Annotated[
        list[Path] | None,
        typer.Argument(help="Files of `spanetv2 benchmark` (default: benchmarks/results/*.json)."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The page.", show_default="docs/performance.md")] = PAGE,
) -> None:
    """Write goals, tables and pictures of benchmark results into the page on performance."""
    for path in write_page(results or sorted(RESULTS.glob("*.json")), out):
        typer.echo(f"wrote {path}")


if __name__ == "__main__":
    main(lambda: typer.run(performance))
