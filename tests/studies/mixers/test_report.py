"""Tables, verdicts and pictures of made-up figures whose answers are known."""

from pathlib import Path

import pytest
from PIL import Image

from spanetv2.errors import UserError
from studies.mixers.claims import judge
from studies.mixers.figures import FIGURES, draw_figures
from studies.mixers.report import compare, tables_of, write_report
from studies.mixers.results import Results, read_results, write_results

ROWS = ("spam", "spam_no_srf", "attention")
TOP1 = {
    "spam": (0.900, 0.910, 0.905),
    "spam_no_srf": (0.901, 0.905, 0.906),
    "attention": (0.85, 0.86, 0.856),
}


def _results(top1: dict[str, tuple[float, ...]] = TOP1) -> Results:
    found = Results(about={"plan": "made-up", "task": "classification", "recipe": {"lr": 1}})
    for row, values in top1.items():
        for seed, value in enumerate(values):
            key = {"row": row, "seed": seed}
            found.runs.append({**key, "top1": value, "loss": 1.0})
            found.curves += [{**key, "step": s, "loss": 1 / (s + 1)} for s in (1, 2, 3)]
            for radius in (0.4, 0.8):
                low, high = (0.5 if row == "spam" else 0.4), (0.3 if row == "spam" else 0.1)
                places = (("low", low), ("high", high))
                found.filtered += [
                    {**key, "band": b, "radius": radius, "top1": v + 0.001 * seed}
                    for b, v in places
                ]
            for stage in (1, 2):
                mixer = {**key, "mixer": f"stages.{stage}", "stage": stage}
                centroid = 0.5 if row == "attention" else 1.0 + 0.01 * seed
                level = {"dc_gain": 2.0 if row == "attention" else 0.2, "rms_gain": 0.2}
                found.mixers.append({**mixer, "lambda_c": centroid, "leakage": 0.1, **level})
                found.responses += [{**mixer, "radius": r, "gain": 2.0 - r} for r in (0.0, 1.0)]
                if row == "spam":
                    found.bank += [
                        {**mixer, "head": head, "quantity": quantity, "radius": r, "gain": 0.5}
                        for head in ("3x3", "5x5")
                        for quantity in ("kernel", "gate", "composed")
                        for r in (0.0, 1.0)
                    ]
            times = {"batch": 128, "seconds": 0.1 if row == "spam" else 0.05}
            if seed == 0:
                dims = "16 48" if row == "attention" else "16 32"
                cost = {"parameters": 1900 if row == "attention" else 2000, "multiply_adds": 5e6}
                found.costs += [
                    {**key, "widths": "matched", "dims": dims, **cost},
                    {**key, "widths": "unmatched", "dims": "16 32", **cost},
                ]
            found.speed += [
                {**key, "pass": work, "round": seed, **times} for work in ("inference", "training")
            ]
    return found


def test_verdicts_follow_from_the_paired_differences() -> None:
    verdicts = {one.claim.text: one for one in judge(_results())}
    assert verdicts["SPAM is better than self-attention"].text == "supported"
    srf = verdicts["The spectral filter (SRF) raises accuracy"]
    assert srf.text == "within noise"
    assert srf.difference.mean == pytest.approx(0.1)
    low = "Self-attention holds up better than SPAM on low-pass images (smallest radius)"
    assert verdicts[low].text == "not supported: the opposite"
    assert verdicts[low].difference.mean == pytest.approx(-10.0)
    spectrum = verdicts["Trained SPAM passes higher frequencies than trained self-attention"]
    assert spectrum.text == "supported"
    assert spectrum.difference.mean == pytest.approx(0.51)
    level = verdicts[
        "Trained self-attention raises the mean over all else more than trained SPAM does"
    ]
    assert level.difference.mean == pytest.approx(20.0)
    assert not any("SepConv" in text for text in verdicts)  # not run


def test_tables_say_what_was_measured() -> None:
    tables = {table.title: table for table in tables_of(_results())}
    accuracy = tables["Accuracy"]
    assert accuracy.rows[0] == ["SPAM", "3", "90.50", "0.50", "89.26 to 91.74", "\u2013"]
    assert accuracy.rows[1][5] == "-0.10 (-0.96 to 0.76)"
    sizes = tables["Size, for one image"].rows
    assert [row[:5] for row in sizes] == [
        ["SPAM", "the skeleton's, which match", "16, 32", "2,000", "100.0%"],
        ["SPAM without SRF", "the skeleton's, which match", "16, 32", "2,000", "100.0%"],
        ["self-attention", "matched", "16, 48", "1,900", "95.0%"],
        ["self-attention", "unmatched", "16, 32", "1,900", "95.0%"],
    ]
    speed = tables["Throughput, in turns"].rows
    assert speed[1] == ["SPAM without SRF", "2,560", "2.00", "2,560", "2.00"]
    assert tables["Frequency responses of the trained mixers"].rows[2][1:3] == [
        "0.50, +20.0",
        "0.50, +20.0",
    ]


def test_figures_are_made_from_the_csv_files_alone(tmp_path: Path) -> None:
    write_results(_results(), tmp_path / "csv")
    paths = draw_figures(read_results(tmp_path / "csv"), tmp_path)
    assert [path.stem for path in paths] == [f"evidence_{name}" for name in FIGURES]
    for path in paths:
        picture = Image.open(path).convert("L")
        assert min(picture.size) > 150
        dark = sum(picture.histogram()[:128])
        assert dark > 500  # lines and words, not an empty sheet


def test_a_single_seed_has_no_interval(tmp_path: Path) -> None:
    single = _results({name: values[:1] for name, values in TOP1.items()})
    page = write_report(single, tmp_path)[0].read_text(encoding="utf-8")
    assert "| SPAM | 1 | 90.00 | \u2013 | \u2013 | \u2013 |" in page
    assert "unknown" in page


def test_compares_with_earlier_runs() -> None:
    known = _results()
    (line,) = compare(_results({"spam": (0.907, 0.903)}), known)
    assert "spam: 90.50 % of 2 seeds is inside the 95 % interval 89.26 to 91.74 of 3 seeds" in line
    assert "seeds 0, 1 differ by at most 0.70" in line
    (line,) = compare(_results({"spam": (0.88, 0.87)}), known)
    assert "is outside the 95 % interval" in line
    assert "outside what 2 further seeds are expected to give" in line
    other = _results()
    other.about["recipe"] = {"lr": 2}
    with pytest.raises(UserError, match="another recipe"):
        compare(other, known)
    with pytest.raises(UserError, match="no row in common"):
        compare(_results({"pooling": (0.8,)}), known)
