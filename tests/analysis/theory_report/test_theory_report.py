"""The report of the study: complete, self-contained, and showing the study's own numbers."""

import csv
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from spanetv2.analysis.theory_report import write_report
from spanetv2.analysis.theory_report.curves import style_of
from spanetv2.analysis.theory_report.figures import FIGURES
from spanetv2.analysis.theory_report.verdicts import verdicts
from spanetv2.drawing import save_figure
from spanetv2.errors import UserError
from spanetv2.theory.study import Settings, run_study

TABLES = ("curves", "mixers", "connectivity", "scaling", "selectivity", "shape", "padding")


@pytest.fixture(scope="module")
def study():
    return run_study(Settings(grid=6, draws=2, seed=1))


@pytest.fixture(scope="module")
def folder(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new" / "folder"
    names = []
    page = write_report(study, folder, progress=names.append)
    assert page == folder / "index.html"
    assert names == [f"figure: {shown.name}" for shown in FIGURES]
    return folder


def read(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_report_leaves_figures_tables_and_page(folder):
    expected = {"index.html", *(f"{name}.csv" for name in TABLES)}
    for shown in FIGURES:
        expected |= {f"{shown.name}.png", f"{shown.name}.pdf"}
        with Image.open(folder / f"{shown.name}.png") as image:
            assert min(image.size) > 400
            assert len(image.convert("L").getcolors(256) or []) > 20  # not an empty sheet
        assert (folder / f"{shown.name}.pdf").read_bytes().startswith(b"%PDF")
    assert {path.name for path in folder.iterdir()} == expected


def test_report_page_is_self_contained_and_complete(study, folder):
    text = (folder / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import|<script|<link", text)
    assert text.count("data:image/png;base64,") == len(FIGURES)
    for shown in FIGURES:
        assert shown.heading in text
    for verdict in verdicts(study):
        assert verdict.statement in text
    for expected in (
        "6 x 6 tokens, torus",
        "spanetv2 analyze theory --grid 6 --draws 2 --seed 1",
        "curves.csv",
        "0.907",  # the profile of the padded 3x3 mean on 14 x 14 tokens
    ):
        assert expected in text
    assert ">nan<" not in text


def test_report_tables_hold_every_number(study, folder):
    rows = read(folder / "curves.csv")
    assert len(rows) == sum(len(curve.radius) for curve in study.curves)
    at = 0
    for curve in study.curves:
        part, at = rows[at : at + len(curve.radius)], at + len(curve.radius)
        assert {row["mixer"] for row in part} == {curve.mixer}
        assert {row["window"] for row in part} == {str(curve.window or "")}
        assert [float(row["gain"]) for row in part] == curve.gain.tolist()
        assert [float(row["radius"]) for row in part] == curve.radius.tolist()
        laws = [row["law"] for row in part]
        assert laws == (
            [""] * len(part) if curve.law is None else [repr(float(v)) for v in curve.law]
        )
    mixers = read(folder / "mixers.csv")
    assert len(mixers) == len(study.curves)
    assert float(mixers[0]["centroid"]) == study.curves[0].scalars["centroid"]
    signed = next(row for row in mixers if row["mixer"] == "signed kernel")
    assert float(signed["m_eff"]) > 0
    for name in TABLES[2:]:
        assert len(read(folder / f"{name}.csv")) == len(getattr(study, name))
    assert float(read(folder / "shape.csv")[0]["ratio"]) == study.shape[0].ratio


def test_report_figure_draws_the_study(study):
    figure = FIGURES[0].draw(study)
    panel = figure.axes[4]
    drawn = [line for line in panel.get_lines() if line.get_marker() not in ("None", None, "")]
    assert [line.get_label() for line in drawn] == ["3x3", "5x5", "global"]
    for line, curve in zip(drawn, study.attention_sharp, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), curve.gain)
        np.testing.assert_array_equal(line.get_xdata(), curve.radius)
    laws = [line for line in panel.get_lines() if line not in drawn]
    for line, curve in zip(laws, study.attention_sharp, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), curve.law)


def test_report_figures_do_not_rely_on_colour():
    styles = [style_of(window) for window in (3, 5, 7, 9, None)]
    for kind in zip(*styles, strict=True):
        assert len({str(value) for value in kind}) == 5


def test_report_figures_are_reproducible(study, tmp_path):
    for name in ("a", "b"):
        for kind in ("png", "pdf"):
            save_figure(FIGURES[5].draw(study), tmp_path / f"{name}.{kind}")
    for kind in ("png", "pdf"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_verdicts_state_what_was_measured(study):
    judged = verdicts(study)
    assert len(judged) == 5
    assert "True, exactly" in judged[3].verdict
    error = float(judged[3].measured.rsplit(" ", 1)[-1].rstrip("."))
    assert error < 1e-9
    shifted = [replace(point, rms_gain=1.5 * point.rms_gain) for point in study.connectivity]
    measured = verdicts(replace(study, connectivity=shifted))[3].measured
    assert measured.endswith("5e-01.")
    kept = next(row for row in study.shape if row.mixer == "window graph")
    assert f"window graph {kept.ratio:.1f}" in judged[4].measured
    sharp = study.attention_sharp[-1].scalars["rms_gain"]
    assert f"global attention {sharp:.3f}" in judged[0].measured


def test_report_wants_a_folder(study, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot make the folder"):
        write_report(study, tmp_path / "file")
