"""``spanetv2 analyze theory``: the frequency response of token mixers, simulated and proved."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["theory"]


def theory(
    out: Annotated[
        Path, typer.Option(help="Folder for the page, the figures and the tables.")
    ] = Path("runs/theory"),
    seed: Annotated[int, typer.Option(help="Seed of all random draws, 0 or more.")] = 0,
    grid: Annotated[int, typer.Option(help="Tokens on a side of the grid, at least 4.")] = 16,
    draws: Annotated[
        int, typer.Option(help="Attention maps per mixer, and 20 times as many kernels.")
    ] = 30,
) -> None:
    """Show how convolution, self-attention and SPAM treat spatial frequencies.

    Simulates them on a grid of tokens and draws the closed-form laws beside: figures for print
    (PDF, PNG), tables (CSV), and one page that explains them. The default takes less than two
    minutes on two cores. Files of an earlier report in the folder are replaced.
    """
    from tqdm import tqdm

    from spanetv2.analysis.theory_report import write_report
    from spanetv2.analysis.theory_report.figures import FIGURES
    from spanetv2.errors import UserError
    from spanetv2.page import promise_page
    from spanetv2.theory.study import Settings, run_study
    from spanetv2.theory.study.run import PARTS

    try:
        settings = Settings(grid=grid, draws=draws, seed=seed)
    except ValueError as error:
        raise UserError(str(error)) from error
    if out.exists() and not out.is_dir():
        raise UserError(f"got the file {str(out)!r}, expected a folder for the report")

    promise_page(out)

    with tqdm(total=len(PARTS) + len(FIGURES), unit="part", dynamic_ncols=True) as bar:

        def progress(part: str) -> None:
            # called before a part: the one before it is done
            if bar.desc:
                bar.update()
            bar.set_description(part)

        page = write_report(run_study(settings, progress=progress), out, progress=progress)
        bar.update()
    typer.echo(f"report  {page}")
