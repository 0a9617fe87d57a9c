"""The report of the study: figures, tables, and one page that explains them."""

import os
from collections.abc import Callable
from pathlib import Path

from spanetv2 import page
from spanetv2.analysis.theory_report.curves import window_name
from spanetv2.analysis.theory_report.figures import FIGURES
from spanetv2.analysis.theory_report.tables import write_tables
from spanetv2.analysis.theory_report.verdicts import verdicts
from spanetv2.drawing import save_figure
from spanetv2.errors import UserError
from spanetv2.files import write_text
from spanetv2.theory.study import Study

__all__ = ["PAGE", "write_report"]

PAGE = "index.html"
_DPI = 200
_COLUMNS = {
    "dc_gain": "gain at 0",
    "rms_gain": "rms gain off 0",
    "centroid": "centroid",
    "hlr": "high / low",
    "cutoff": "cut-off",
    "m_eff": "M_eff",
    "leakage": "leakage",
}
_LEAD = (
    "A token mixer is a linear operator on the tokens of a grid. This page measures how such "
    "operators treat spatial frequencies, beside what can be proved about them: convolutions, "
    "windowed and global self-attention, their residual forms, and the heads of SPAM."
)
_READING = (
    "Frequencies are in radians per token: 0 is a flat area, π the finest pattern. The gain is how "
    "much of a wave's norm comes back, at whatever frequency. Logits 1/3 and 1 are the standard "
    "deviations of attention's logits; PyTorch's default initialisation gives 1/3. M_eff is the "
    "number of tokens that a row of a row-stochastic operator really averages."
)


def write_report(
    study: Study,
    folder: str | os.PathLike[str],
    *,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write the figures (PNG and PDF), the tables (CSV) and the page of a study.

    Args:
        study: what to show.
        folder: where to; made if it is missing. Files of an earlier report are replaced.
        progress: called with the name of each figure before it is drawn.

    Returns:
        The page, one file with all figures in it.

    Raises:
        UserError: the folder cannot be made.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot make the folder {str(folder)!r} ({error.strerror}), expected a place for the "
            "report"
        ) from error
    tables = write_tables(study, folder)
    parts = [page.cards(_facts(study)), page.paragraph(_READING)]
    judged = [[v.statement, v.verdict, v.measured] for v in verdicts(study)]
    parts.append(
        page.section(
            "What is said, and what holds",
            page.table(["statement", "verdict", "measured here"], judged),
        )
    )
    for shown in FIGURES:
        if progress is not None:
            progress(f"figure: {shown.name}")
        drawn = shown.draw(study)
        picture = save_figure(drawn, folder / f"{shown.name}.png", dpi=_DPI)
        save_figure(drawn, picture.with_suffix(".pdf"), dpi=_DPI)
        alt = f"{shown.heading}: {shown.text}"
        parts.append(
            page.section(shown.heading, page.figure(picture, shown.text, wide=True, alt=alt))
        )
    parts.append(page.section("All mixers", _mixers(study)))
    parts.append(page.section("Zero padding", _padding(study)))
    names = [f"{shown.name}.pdf, {shown.name}.png" for shown in FIGURES]
    names += [table.name for table in tables]
    parts.append(page.section("Files beside this page", page.listing("\n".join(names))))
    parts.append(page.section("Again", page.listing(_command(study))))
    path = folder / PAGE
    title = "How token mixers treat frequencies"
    write_text(path, page.document(title, "\n".join(parts), lead=_LEAD))
    return path


def _facts(study: Study) -> dict[str, str]:
    settings = study.settings
    return {
        "grid": f"{settings.grid} x {settings.grid} tokens, torus",
        "attention maps per mixer": str(settings.draws),
        "kernels per mixer": str(settings.kernels),
        "seed": str(settings.seed),
    }


def _command(study: Study) -> str:
    settings = study.settings
    return (
        f"spanetv2 analyze theory --grid {settings.grid} --draws {settings.draws} "
        f"--seed {settings.seed}"
    )


def _mixers(study: Study) -> str:
    rows = []
    for curve in study.curves:
        scalars = [curve.scalars[name] for name in _COLUMNS]
        has_window = curve.window is not None or "attention" in curve.mixer
        window = window_name(curve.window) if has_window else None
        rows.append([curve.mixer, window, *scalars])
    text = page.paragraph(
        "Scalars of the mean power over draws. The centroid is the power's mean eigenvalue of the "
        "Laplacian, 0 to 2, where 1 is flat; high / low is the mean power above 1 by that below. A "
        "cut-off is missing where the gain never falls by 3 dB. For mixers that are not "
        "row-stochastic, M_eff is only the inverse mean power."
    )
    return page.details(
        "Every mixer of the study", text, page.table(["mixer", "window", *_COLUMNS.values()], rows)
    )


def _padding(study: Study) -> str:
    text = page.paragraph(
        "SPAM's convolutions pad with zeros, which breaks shift invariance: the mean of a window "
        "loses part of the constant at the edges, and part of its power leaves its frequency. The "
        "law for the constant is (1 - r (r + 1) / (k n))^2 with r = (k - 1) / 2."
    )
    rows = [
        [f"{p.n}x{p.n}", window_name(p.window), p.dc_profile, p.law, p.leakage]
        for p in study.padding
    ]
    return text + page.table(["tokens", "window", "profile at 0", "law", "leakage"], rows)
